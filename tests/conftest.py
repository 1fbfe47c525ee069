"""Fixtures that every test may use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.s3_server import s3_options
from tests.tiny_pipeline import TINY, Run, run_in, write_corpus

__all__ = ["s3_options"]  # fixtures that live in files of their own

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make golden` write the golden files that the tests otherwise compare with."""
    parser.addoption("--write-golden", action="store_true", help="write tests/golden/ anew")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real text beside the checkout; skips by name where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real text is not there: {folder}")
    return folder


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One temporary Prefect server for all flow tests; it takes seconds to start."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A train and a valid file of simple sentences, 30 kB and 3 kB."""
    folder = tmp_path_factory.mktemp("corpus")
    return {
        split: write_corpus(folder / f"{split}.txt", seed=seed, num_documents=count)
        for split, seed, count in [("train", 1, 200), ("valid", 2, 20)]
    }


@pytest.fixture(scope="session")
def settings(corpus: dict[str, Path]) -> list[str]:
    """The settings of a tiny run on the test's corpus."""
    return [f"corpus.{split}={path}" for split, path in corpus.items()] + list(TINY)


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root of `first`, for tests that add to it or mend what they break."""
    return tmp_path_factory.mktemp("shared") / "data"


@pytest.fixture(scope="session")
def first(prefect_server: None, shared_root: Path, settings: list[str]) -> dict[str, Any]:
    """The summary of a first run, which builds everything in the shared data root."""
    return run_in(shared_root)(settings)


@pytest.fixture
def rerun(first: dict[str, Any], shared_root: Path) -> Run:
    """Run the flow again in the shared data root."""
    return run_in(shared_root)


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """An empty data root of the test's own."""
    return tmp_path / "data"


@pytest.fixture
def run(prefect_server: None, data_root: Path) -> Run:
    """Run the flow in the test's own data root."""
    return run_in(data_root)
