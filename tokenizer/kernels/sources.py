"""Where compiled kernels are kept: a folder named by the hash of all kernel sources.

Imports no Numba, so that a program can ask whether the kernels are compiled without waiting for it.
"""

import hashlib
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parent


@cache
def kernels_folder(parent: str = "") -> Path:
    """Return the folder of the compiled kernels below `parent`; "": beside the sources."""
    return Path(parent or SOURCES / "__pycache__") / f"kernels-{sources_digest(SOURCES)[:16]}"


def sources_digest(folder: Path) -> str:
    """Return the sha256 over all Python files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
