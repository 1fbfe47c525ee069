"""What the first run of all would wait for, made while pip still installs torch.

`python -m flows.first_start`, of `make install`: the empty databases that later data roots begin
with, then the kernels, which are left to processes of their own. It needs no torch. A run makes
whatever is missing, so nothing is lost where this fails, or was never started.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.settings import numba_cache_dir, prefect_database, prepare_environment, spares_folder
from tasks.execution.kernels import begin_to_compile
from tasks.tracking.database import SQLITE, make_database
from tasks.tracking.spare_database import PREFECT, is_kept, keep_spare

NICENESS = 10
"""Whoever installs waits for pip, not for this."""
MAKE_TABLES = ("prefect", "server", "database", "upgrade", "-y")
"""What a Prefect server does when it starts on a new database."""


def main() -> None:
    """Make the databases, begin to compile the kernels, and leave."""
    os.nice(NICENESS)
    with TemporaryDirectory() as folder:
        make_spares(Path(folder), spares_folder())
    begin_to_compile(numba_cache_dir())


def make_spares(root: Path, spares: Path) -> None:
    """Make empty databases in a data root that is thrown away, and keep copies."""
    prepare_environment(root)
    # A database of the user's, elsewhere, is none of our business.
    if not is_kept(PREFECT, spares) and prefect_database().is_relative_to(root):
        subprocess.run([sys.executable, "-m", *MAKE_TABLES], check=True, capture_output=True)
        keep_spare(PREFECT, prefect_database(), spares)
    make_database(f"{SQLITE}{root}/mlflow/mlflow.db", "", spares)


if __name__ == "__main__":
    main()
