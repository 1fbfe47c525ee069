"""The JSON line of a benchmark: its figures, and the commit that they are of."""

import json
from collections.abc import Mapping
from pathlib import Path

from flows.settings import code_version


def print_result(figures: Mapping[str, object]) -> None:
    """Print one line of JSON; `commit` ends in -dirty where the checkout has changes."""
    commit = code_version(Path(__file__).parents[1])
    print(json.dumps({"commit": commit, **figures}), flush=True)
