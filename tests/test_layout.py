"""The packages come from this checkout, and importing the command line stays light."""

import importlib
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("flows", "tasks", "lm", "tokenizer", "artifacts")
HEAVY = ("torch", "numba", "mlflow", "prefect", "pyarrow")


@pytest.mark.parametrize("name", PACKAGES)
def test_package_comes_from_this_checkout(name: str) -> None:
    """An installed distribution of the same name does not shadow ours."""
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == ROOT / name


@pytest.mark.parametrize("name", PACKAGES)
def test_no_other_distribution_provides_the_package(name: str) -> None:
    """Only owt-pipeline provides our import names."""
    assert set(packages_distributions().get(name, [])) <= {"owt-pipeline"}


def test_help_imports_nothing_heavy() -> None:
    """``owt --help`` stays instant because the heavy libraries are imported inside commands."""
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from flows.cli.main import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr
