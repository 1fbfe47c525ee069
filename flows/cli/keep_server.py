"""The process that keeps a Prefect server (`shared_server`): `python -m flows.cli.keep_server`."""

import sys
from pathlib import Path

from flows.cli.shared_server import keep

if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]))
