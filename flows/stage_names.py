"""The names of the stages without their code, for help and completion, which must be instant.

Importing `flows.stages` imports Prefect, which takes seconds. So the names are read off its text:
`visit(TRAIN_LM, ...)` is the stage `train_lm`. A test holds them against the walk itself.
"""

import ast
from functools import cache
from pathlib import Path


@cache
def stage_names() -> tuple[str, ...]:
    """Return the stages in the order of the flow."""
    tree = ast.parse(Path(__file__).with_name("stages.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    visits = [
        (node.lineno, node.args[0].id)
        for node in calls
        if isinstance(node.func, ast.Name) and node.func.id == "visit"
        if isinstance(node.args[0], ast.Name)
    ]
    return tuple(dict.fromkeys(name.lower() for _, name in sorted(visits)))
