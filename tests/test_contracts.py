"""Each import contract of `pyproject.toml` is seen red: a deliberate violation, in a copy."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.checkout_copy import COPIED, ROOT

VIOLATIONS = {
    "Three floors: flows, tasks, libraries; no arrow up": (
        "tasks/execution/retry.py",
        "import flows.config",
    ),
    "Only flows and tasks know the orchestrator and the tracker": (
        "lm/training/loop.py",
        "import mlflow",
    ),
    "The language model knows neither storage nor BPE": ("lm/data/shards.py", "import fsspec"),
    "The tokenizer needs no torch": ("tokenizer/compare.py", "import torch"),
    "The store does not know what it stores": ("artifacts/record.py", "import numba"),
    "Rooms of lm: training on top, the model knows no training": (
        "lm/model/layers.py",
        "import lm.training.loop",
    ),
    "Rooms of training: a step knows no loop, a job knows no step": (
        "lm/training/step/step.py",
        "import lm.training.loop",
    ),
    "Rooms of the tokenizer: the kernels are the ground": (
        "tokenizer/kernels/jit.py",
        "import tokenizer.config",
    ),
    "Rooms of the store: fetching knows no artifact, identity knows no store": (
        "artifacts/identity.py",
        "import artifacts.store",
    ),
    "Rooms of the report: from what was found to how it is shown": (
        "tasks/report/wording.py",
        "import tasks.report.page",
    ),
}
"""For each contract a file, and the line in it that breaks the contract."""


def contracts() -> list[str]:
    """Return the names of all contracts."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]


def broken(checkout: Path) -> list[str]:
    """Return the names of the contracts that are broken in a checkout."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    found = [line.removesuffix(" BROKEN") for line in lines if line.endswith(" BROKEN")]
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the packages with the contracts."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_has_its_violation() -> None:
    """A contract that nobody has seen red may hold nothing."""
    assert sorted(VIOLATIONS) == sorted(contracts())


def test_all_contracts_hold(checkout: Path) -> None:
    """The copy as it is breaks none."""
    assert broken(checkout) == []


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_a_violation_breaks_the_contract(contract: str, checkout: Path) -> None:
    """One wrong import is enough, and the contract that it breaks is named."""
    name, line = VIOLATIONS[contract]
    with (checkout / name).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    assert contract in broken(checkout)
