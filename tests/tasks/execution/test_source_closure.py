"""The hash of a stage's code changes with the code that determines its bytes, and only then."""

from pathlib import Path

import pytest

from tasks.execution import source_closure as module
from tasks.execution.source_closure import closure, has_drifted, source_closure

STAGE = """
from tasks.watching.progress import progress
def cut():
    from tokenizer.knife import sharpen
    return sharpen()
def show(): return "one"
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stage, what it imports in a function, and what only shows."""
    files = {
        "tasks/cut.py": STAGE,
        "tasks/watching/progress.py": "progress = 1",
        "tokenizer/knife.py": "def sharpen(): return 1",
        "lm/other.py": "unused = 1",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    module._source.cache_clear()
    return tmp_path


def hash_after(checkout: Path, name: str, old: str, new: str) -> str:
    """Return the hash of the stage after an edit."""
    path = checkout / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    module._source.cache_clear()
    return source_closure("tasks.cut")


def test_what_is_imported_in_a_function_counts(checkout: Path) -> None:
    """Heavy libraries are imported there."""
    before = source_closure("tasks.cut")
    assert closure("tasks.cut") == {"tasks.cut", "tokenizer.knife"}
    after = hash_after(checkout, "tokenizer/knife.py", "return 1", "return 2")
    assert has_drifted(before, after)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tokenizer/knife.py", "def", "# why\ndef"),
        ("tokenizer/knife.py", "return 1", "'Say it.'; return 1"),
        ("tasks/watching/progress.py", "1", "2"),
        ("lm/other.py", "1", "2"),
        ("tasks/cut.py", '"one"', '"two"'),
    ],
    ids=["comment", "docstring", "progress", "not imported", "what is shown"],
)
def test_what_changes_no_byte_does_not_count(checkout: Path, name: str, old: str, new: str) -> None:
    """A warning that comes with each comment would not be read."""
    before = source_closure("tasks.cut")
    assert hash_after(checkout, name, old, new) == before


def test_unknown_code_and_another_python_say_nothing() -> None:
    """Syntax trees of two Pythons differ; a record of an earlier version has no hash."""
    assert not has_drifted("", "3.11:a")
    assert not has_drifted("3.10:a", "3.11:b")
    assert not has_drifted("3.11:a", "3.11:a")
