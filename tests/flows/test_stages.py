"""The DAG is written once: who walks it sees the same stages, and nobody else names one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from artifacts.identity import Reference
from flows.config import PipelineConfig
from flows.stages import placeholder, stage_ancestors, walk_stages
from tasks.corpus.source import Source
from tasks.stage import S, Stage

FLOWS = Path(__file__).resolve().parents[2] / "flows"
STAGES = tuple(stage_ancestors())
STAGE_NAME = re.compile(rf"\b({'|'.join(STAGES)})\b(?!\.[a-z_]+)")
"""A stage's name that is not the section of a setting, as in `model.d_model`."""


class Listing:
    """A visitor that writes down what it is asked."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def pin(self, source: Source) -> Source:
        """Leave the source as it is."""
        return source

    def visit(
        self, stage: Stage[S], settings: S, label: str = "", **inputs: Reference
    ) -> Reference:
        """Write the stage down with what it is made from."""
        del settings
        made_from = ", ".join(f"{name}={source.stage}" for name, source in inputs.items())
        self.lines.append(f"{stage.name} {label}({made_from})")
        return placeholder(stage)


def test_the_walk_is_the_diagram_of_the_readme() -> None:
    """Each stage comes after those that it is made from, and says which they are."""
    listing = Listing()
    walk_stages(PipelineConfig(), listing)
    tokens = "tokenizer=train_tokenizer, train=encode_shards"
    assert listing.lines == [
        "download train()",
        "download valid(train=download)",
        "count_pretokens (text=download)",
        "train_tokenizer (counts=count_pretokens)",
        "encode_shards train(text=download, tokenizer=train_tokenizer)",
        "encode_shards valid(text=download, tokenizer=train_tokenizer)",
        "train_lm (train=encode_shards, valid=encode_shards)",
        f"evaluate (model=train_lm, {tokens}, valid=encode_shards)",
        f"generate (model=train_lm, {tokens})",
    ]


def test_ancestors_come_from_the_walk_alone() -> None:
    """Neither a corpus nor a store is looked at."""
    ancestors = stage_ancestors()
    assert ancestors["download"] == ()
    assert ancestors["encode_shards"] == ("download", "count_pretokens", "train_tokenizer")
    assert ancestors["generate"] == (*ancestors["train_lm"], "train_lm")
    assert "evaluate" not in ancestors["generate"]


def other_files_of_flows() -> list[Path]:
    return [path for path in sorted(FLOWS.rglob("*.py")) if path.name != "stages.py"]


def quoted_texts(tree: ast.AST) -> Iterator[str]:
    """Yield the strings of a module, its docstrings and the help texts of options left out."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(node.value)  # a docstring, of whatever it is below
        if isinstance(node, ast.keyword) and node.arg in ("help", "epilog"):
            skipped.update(ast.walk(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node.value


def names_of_stages(tree: ast.AST) -> list[str]:
    """Return the stages that a module names, in quotes or by a constant of a stage's file."""
    constants = {"STAGE", *(stage.upper() for stage in STAGES)}
    found = [text for text in quoted_texts(tree) if STAGE_NAME.search(text)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found += [alias.name for alias in node.names if alias.name in constants]
        if isinstance(node, ast.Attribute) and node.attr in constants:
            found.append(node.attr)
    return found


@pytest.mark.parametrize("path", other_files_of_flows(), ids=lambda path: path.name)
def test_no_other_file_of_flows_names_a_stage(path: Path) -> None:
    """A new stage needs no change outside `stages.py`."""
    assert names_of_stages(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "code",
    ['x = "train_lm"', "from tasks.evaluate import STAGE", "generate.GENERATE", 'f"{x}/download"'],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    """A quoted name, a constant and a part of an f-string are all seen."""
    assert names_of_stages(ast.parse(code))
