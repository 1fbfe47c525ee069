"""Windows: they end at safe cuts, whatever their size."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import SPECIAL_TOKENS, byte_strings
from tokenizer.kernels.classify.boundaries import READ_AHEAD_BYTES
from tokenizer.patterns import PATTERNS
from tokenizer.pretokenize import iter_pretokens
from tokenizer.text import windows
from tokenizer.text.cuts import cut_rule


@pytest.mark.parametrize("pattern", [*PATTERNS, r"\w+|\s"])
@given(data=byte_strings(), window_bytes=st.integers(1, 40))
def test_windows_tokenized_apart_give_the_whole(
    pattern: str, data: bytes, window_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The pretokens of all windows, joined, are the pretokens of the whole text."""
    path = tmp_path_factory.mktemp("text") / "text"
    path.write_bytes(data)
    rule = cut_rule(special_tokens=SPECIAL_TOKENS, pattern=pattern)
    with pytest.MonkeyPatch.context() as patch, windows.open_source(path) as source:
        patch.setattr(windows, "WINDOW_BYTES", window_bytes)
        read = windows.iter_windows(source, 0, len(data), rule)
        pieces = [buffer[:length].tobytes() for buffer, length in read]
    assert b"".join(pieces) == data

    def pretokens(part: bytes) -> list[bytes]:
        return list(iter_pretokens(part, pattern=pattern, special_tokens=SPECIAL_TOKENS))

    assert [one for piece in pieces for one in pretokens(piece)] == pretokens(data)


def test_kernels_may_read_a_block_after_a_window() -> None:
    """The bytes after a window are as many as the kernels read at once."""
    assert windows.PADDING_BYTES >= READ_AHEAD_BYTES


def test_a_text_that_shrinks_is_named(tmp_path: Path) -> None:
    """A file that is shorter than when it was opened is an error, not an endless loop."""
    path = tmp_path / "text"
    path.write_bytes(b"some text")
    with windows.open_source(path) as source:
        path.write_bytes(b"some")
        with pytest.raises(OSError, match=r"text ends at byte 4, .*\(9\)"):
            windows.read_bytes(source, 0, 9)
