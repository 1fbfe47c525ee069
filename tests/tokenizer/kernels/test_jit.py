"""The cache of compiled kernels: its folder is named by the content of all their sources."""

from importlib import import_module
from pathlib import Path

from numba import config

from tokenizer.kernels.jit import inlined
from tokenizer.kernels.pretoken_keys import short_key
from tokenizer.kernels.sources import SOURCES, kernels_folder, sources_digest


def test_the_cache_folder_is_named_after_the_sources() -> None:
    """A changed kernel file never meets code that was compiled with the old one."""
    folder = Path(short_key.stats.cache_path)
    assert any(part.startswith("kernels-") for part in folder.parts)
    # The setting of other Numba code is left alone; it comes from an environment variable.
    assert not config.CACHE_DIR  # type: ignore[attr-defined] # Numba sets it when it is imported


def test_every_source_counts(tmp_path: Path) -> None:
    """The name depends on the bytes of each file, those in rooms too."""
    (tmp_path / "a.py").write_text("x = 1")
    (tmp_path / "room").mkdir()
    names = []
    for text in ("y = 1", "y = 2"):
        (tmp_path / "room" / "b.py").write_text(text)
        names.append(sources_digest(tmp_path))
    assert names[0] != names[1]


def test_the_folder_is_beside_the_sources_or_where_it_is_wanted(tmp_path: Path) -> None:
    """Under one name."""
    assert kernels_folder().parent == SOURCES / "__pycache__"
    assert kernels_folder(str(tmp_path)) == tmp_path / kernels_folder().name


def test_numba_asks_for_blas_as_before() -> None:
    """Other kernels of the process may call it; only our start does without."""
    linalg, arraymath = (import_module(f"numba.np.{name}") for name in ("linalg", "arraymath"))
    assert linalg.ensure_blas.__name__ == "ensure_blas"
    assert arraymath.ensure_blas is linalg.ensure_blas


def test_an_inlined_function_can_be_called() -> None:
    """By Python too."""

    def double(number: int) -> int:
        return 2 * number

    assert inlined(double)(21) == 42
