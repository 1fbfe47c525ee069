"""The package offers its public names without importing more than is asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

import artifacts


@pytest.mark.parametrize("name", artifacts.__all__)
def test_public_name_is_what_its_module_defines(name: str) -> None:
    """Every public name can be taken from the package."""
    assert getattr(artifacts, name).__name__ == name


def test_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as it does in any module."""
    with pytest.raises(AttributeError, match="'artifacts' has no attribute 'publsh'"):
        _ = artifacts.publsh


def test_importing_the_store_loads_nothing_heavy() -> None:
    """The command line can look at records without torch, numpy, the cloud or the orchestrator."""
    code = (
        "import sys, artifacts.store, artifacts.lineage, artifacts.checking\n"
        "print([name for name in ('torch', 'numpy', 'numba', 'pyarrow', 's3fs', 'aiohttp',"
        " 'prefect', 'mlflow') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (done.stdout, done.stderr) == ("[]\n", "")
