"""What importing the store costs."""

import subprocess
import sys
from pathlib import Path


def test_importing_the_store_loads_nothing_heavy() -> None:
    """The command line can look at records without torch, numpy, the cloud or the orchestrator."""
    code = (
        "import sys, artifacts.store, artifacts.published.lineage, artifacts.published.checking\n"
        "print([name for name in ('torch', 'numpy', 'numba', 'pyarrow', 's3fs', 'aiohttp',"
        " 'prefect', 'mlflow') if name in sys.modules])"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (done.stdout, done.stderr) == ("[]\n", "")
