"""A copy of the checkout with an environment of its own, as a reader of the docs has it."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("flows", "tasks", "lm", "tokenizer", "artifacts")

OWT_SCRIPT = """#!{python}
import sys
from flows.__main__ import main
sys.exit(main())
"""


def copy_checkout(folder: Path) -> Path:
    """Copy the packages, and give the copy a `.venv` in which they are installed editable.

    The environment's libraries are those of the running one; `.venv/bin/owt` runs the copy's code.
    """
    skip = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    venv = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    lines = [str(folder), sysconfig.get_path("purelib")]
    (venv / "lib" / version / "site-packages" / "copy.pth").write_text("\n".join(lines) + "\n")
    owt = venv / "bin" / "owt"
    owt.write_text(OWT_SCRIPT.format(python=venv / "bin" / "python"))
    owt.chmod(0o755)
    return folder
