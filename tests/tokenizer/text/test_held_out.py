"""A divided text: the parts are the whole, and a document's part depends on its content alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.special_tokens import END_OF_TEXT
from tokenizer.text.held_out import Part, write_part

SHARE = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of property tests, each overwritten by the next example."""
    return tmp_path_factory.mktemp("divided")


def divide(folder: Path, text: str, share: int = SHARE) -> tuple[str, str, Part]:
    """Return the larger and the smaller part, and what is said of the smaller."""
    path = folder / "text.txt"
    path.write_text(text, "utf-8")
    larger, smaller = folder / "larger.txt", folder / "smaller.txt"
    write_part(path, larger, held_out=False, share=share)
    part = write_part(path, smaller, held_out=True, share=share)
    return larger.read_text("utf-8"), smaller.read_text("utf-8"), part


def documents(text: str) -> list[str]:
    """Return what is a document, as `tokenizer.text.documents` has it."""
    return [stripped for piece in text.split(END_OF_TEXT) if (stripped := piece.strip("\r\n"))]


@given(st.lists(st.text("ab \n", max_size=6), min_size=1, max_size=30))
def test_every_document_is_in_one_part(folder: Path, pieces: list[str]) -> None:
    """Both parts keep the order; equal documents go the same way."""
    text = END_OF_TEXT.join(["first", *pieces, "last"])
    larger, smaller, part = divide(folder, text)
    if not part.num_documents:
        assert larger + smaller == text
        return
    assert part == Part(
        num_documents=len(documents(smaller)), num_all_documents=len(documents(text))
    )
    held_out = set(documents(smaller))
    assert documents(larger) == [one for one in documents(text) if one not in held_out]
    assert documents(smaller) == [one for one in documents(text) if one in held_out]


def test_the_rule_is_fixed(folder: Path) -> None:
    """These documents are held out for ever: another choice would change fingerprints."""
    text = f"\n{END_OF_TEXT}\n".join(f"story {number}" for number in range(64))
    _, smaller, part = divide(folder, text, share=16)
    assert documents(smaller) == ["story 1", "story 39", "story 53"]
    assert part == Part(num_documents=3, num_all_documents=64)


@pytest.mark.parametrize(
    ("text", "smaller"),
    [
        ("one\ntwo\nthree\nfour\nfive\n", "five\n"),
        ("one long line without an end", " an end"),
        ("世界" * 8, "世界世界"),
    ],
)
def test_a_text_of_one_document_is_cut_once(folder: Path, text: str, smaller: str) -> None:
    """The end is held out, from the start of a line, and never half a character."""
    larger, found, part = divide(folder, text)
    assert (larger + found, found) == (text, smaller)
    assert part == Part(num_documents=0, num_all_documents=1)


def test_a_text_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """Nothing would be left to hold out."""
    with pytest.raises(ValueError, match=r"text\.txt \(2 bytes\) is too short to hold out"):
        divide(tmp_path, "ab", share=16)
