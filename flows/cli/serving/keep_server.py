"""The process that keeps a Prefect server: `python -m flows.cli.serving.keep_server`."""

import sys
from pathlib import Path

from flows.cli.serving.shared_server import keep

if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]))
