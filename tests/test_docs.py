"""Files that the docs name are there."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from flows.config import resolve_config
from flows.presets import find_preset

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PACKAGES = ("flows", "tasks", "lm", "tokenizer", "artifacts", "tests", "benchmarks", "docs")
ELSEWHERE = {"tests/adapters.py"}
"""The course's own file, in its repository."""
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
CODE_PATH = re.compile(rf"`((?:{'|'.join(PACKAGES)})/[\w/.-]*)`")
MODULE = re.compile(r"`((?:lm|tokenizer|artifacts|tasks|flows)(?:\.[a-z_0-9]+)+)\.\w+`")


def missing(page: Path) -> list[str]:
    """Return what a page names and the checkout does not have."""
    text = page.read_text(encoding="utf-8")
    found = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    if page.name == "CHANGELOG.md":
        return found  # it tells of files that were
    added = set(re.findall(r"A new file `([^`]+)`", text))
    paths = set(CODE_PATH.findall(text)) - added - ELSEWHERE
    found += [path for path in paths if not (ROOT / path).exists()]
    modules = [name.replace(".", "/") for name in MODULE.findall(text)]
    return found + [name for name in modules if not module_exists(ROOT / name)]


def module_exists(path: Path) -> bool:
    """Return whether a dotted name is a module, or a class or function in one."""
    return any(place.with_suffix(".py").exists() or place.is_dir() for place in (path, path.parent))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_everything_that_a_page_names_is_there(page: Path) -> None:
    """Links, paths in backticks and names of modules."""
    assert missing(page) == []


@pytest.mark.parametrize("page", sorted(ROOT.glob("benchmarks/results/*.md")), ids=lambda p: p.stem)
def test_a_result_names_its_commit(page: Path) -> None:
    """A figure without the code that gave it cannot be looked into."""
    assert re.search(r"^Commit: .*`[0-9a-f]{7,40}`", page.read_text(encoding="utf-8"), re.M)


def settings_of(page: Path) -> list[list[str]]:
    """Return the words of every `owt run` and `owt plan` with a preset that a page gives."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")  # a command over two lines
    commands = re.findall(r"owt (?:run|plan) (--preset[^`\n#]*)", text)
    return [shlex.split(command) for command in commands]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_settings_of_a_pages_commands_are_accepted(page: Path) -> None:
    """A command with a preset that is printed on a page is not refused for its settings."""
    for words in settings_of(page):
        given = [value for word, value in pairwise(words) if word == "--set"]
        known = [value for value in given if not value.startswith("list_words.")]
        resolve_config(find_preset(words[1]), None, known)
