"""Which code a stage's output depends on, as one hash: a change without a new version is noticed.

The hash covers the stage's own file and what it imports, also inside functions, of the two
libraries, of `tasks/corpus` and of other stages' files. What only runs, shows and keeps is left
out, as are comments and docstrings.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
COVERED = ("lm", "tokenizer", "tasks")
LEFT_OUT = (
    "tasks.context",
    "tasks.execution",
    "tasks.report",
    "tasks.stage",
    "tasks.tracking",
    "tasks.watching",
)
"""Modules and rooms that change no byte of an artifact."""

ABOUT_ONLY = ("predict", "show")
"""Functions of a stage's file that change none either."""


def source_closure(module: str) -> str:
    """Return the hash of a stage's code, such as `3.11:0123456789abcdef`.

    The syntax tree is that of the running Python, so only hashes of one version compare.
    """
    digest = hashlib.sha256()
    for name in sorted(closure(module)):
        digest.update(f"{name}\n{_source(name)[0]}\n".encode())
    return f"{sys.version_info.major}.{sys.version_info.minor}:{digest.hexdigest()[:16]}"


def has_drifted(before: str, now: str) -> bool:
    """Tell whether two hashes say that the code is another one; unknown ones say nothing."""
    same_python = before.partition(":")[0] == now.partition(":")[0]
    return bool(before and now) and same_python and before != now


def closure(module: str) -> set[str]:
    """Return the names of the covered modules that a module needs, itself included."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_source(name)[1])
    return found


@cache
def _source(module: str) -> tuple[str, tuple[str, ...]]:
    """Return the hash of one module's code, and which covered modules it imports."""
    path = _path(module)
    assert path is not None  # only modules that are there are followed
    tree = ast.parse(path.read_bytes())
    imported = tuple(dict.fromkeys(filter(_is_covered, _imported(tree))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_bare_text(line)]
    tree.body = [line for line in tree.body if getattr(line, "name", "") not in ABOUT_ONLY]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imported


def _is_bare_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_covered(module: str) -> bool:
    package = module.partition(".")[0]
    left_out = any(f"{module}.".startswith(f"{name}.") for name in LEFT_OUT)
    return package in COVERED and not left_out and _path(module) is not None


def _path(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split("."))
    return next((p for p in (place.with_suffix(".py"), place / "__init__.py") if p.is_file()), None)
