"""A validation text that is too small is told of, before the training and at the end."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.store import open_store, resolve
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
