"""One text has the same ids and counts by every route, however its special tokens overlap."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.strategies import texts_of_overlapping_specials
from tests.tokenizer.routes import differing_routes, tokenizer_with, windows_of

EOT = "<|endoftext|>"
REPEATED = "aab aaaab aaaaab Xaaaaaaa aXaaXa aaaXa a aa aaa"


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The text file, overwritten by each example."""
    return tmp_path_factory.mktemp("routes") / "text"


@pytest.mark.parametrize("pattern", ["gpt2", "cl100k"])
@given(
    drawn=texts_of_overlapping_specials(),
    window_bytes=st.integers(1, 24),
    search_bytes=st.integers(1, 24),
)
@example(drawn=(REPEATED, ["aa", "aaa", "aXa"]), window_bytes=5, search_bytes=1)
@example(drawn=("XaXaXXaXaXXa", ["Xa", "XaXaXa", "XaXaXX"]), window_bytes=1, search_bytes=1)
@example(drawn=(REPEATED, ["aaaa", "aab", " a"]), window_bytes=3, search_bytes=2)
def test_every_route_gives_the_reference_s_ids_and_counts(
    path: Path, pattern: str, drawn: tuple[str, list[str]], window_bytes: int, search_bytes: int
) -> None:
    """Threads, windows and ranges cut a text anywhere, and no cut changes a token."""
    text, special_tokens = drawn
    path.write_text(text)
    with windows_of(window_bytes, search_bytes):
        tokenizer = tokenizer_with(special_tokens, pattern)
        assert differing_routes(tokenizer, path, range_bytes=window_bytes) == []


def test_ends_of_text_in_a_row_are_cut_alike_by_all_threads(path: Path) -> None:
    """A cut is sought among four ends of text, where two of them are one special token too."""
    # The first span of a second thread ends at 2**20; the third end of text begins before it.
    before = "word " * 300_000
    text = before[: 2**20 - 35] + 4 * EOT + before[:50_000]
    path.write_text(text)
    tokenizer = tokenizer_with([EOT, 2 * EOT], "gpt2")
    assert differing_routes(tokenizer, path, range_bytes=2**20) == []
