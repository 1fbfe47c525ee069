"""What a validation text is good for: a loss, where it is large enough, and a prompt."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.store import open_store, resolve
from tasks.corpus.text import first_words
from tasks.corpus.validation import describe_small
from tasks.evaluate import EVALUATE


@pytest.mark.parametrize(
    ("num_documents", "num_tokens", "words"),
    [
        (1, 90_000, "only 1 document with 90,000 tokens"),
        (9, 90_000, "only 9 documents"),
        (500, 9_000, "only 500 documents with 9,000 tokens"),
    ],
)
def test_few_documents_or_tokens_say_little(
    num_documents: int, num_tokens: int, words: str
) -> None:
    """One line: how much there is, what that does to the loss, and what to do."""
    told = describe_small(num_documents, num_tokens)
    assert words in told
    assert "--set corpus.valid=PATH" in told


def test_the_end_of_a_run_tells_it_too(first: dict[str, Any], shared_root: Path) -> None:
    """Also where the model is cached; the text of the tests is a tiny one."""
    store = open_store(shared_root / "artifacts")
    fingerprint = next(s["fingerprint"] for s in first["stages"] if s["stage"] == "evaluate")
    lines = EVALUATE.show(store, resolve(store, fingerprint)).line.splitlines()
    assert lines[0].startswith("validation loss")
    assert lines[1].startswith("the validation text is only")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Short line\nand more", "Short line"),
        ("\ufeff\n== \n  Call me  Ishmael. Some years ago, long", "Call me Ishmael. Some"),
        ("天地玄黄" * 9, ("天地玄黄" * 9)[:24]),
        ("---\n", ""),
    ],
)
def test_a_prompt_is_how_the_text_begins(text: str, words: str) -> None:
    """Whole words of the first line that has any; a part of one in scripts without spaces."""
    assert first_words(text) == words


def test_the_hint_at_the_end_has_a_prompt_of_the_corpus(first: dict[str, Any]) -> None:
    """The command that lets the model write more fits the text that it has learnt."""
    prompts = [stage["shown"]["prompt"] for stage in first["stages"] if stage["shown"]["prompt"]]
    assert len(prompts) == 1
    assert prompts[0].split()[0] in {"the", "a", "Tom", "her"}
