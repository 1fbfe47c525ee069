"""A copy of the checkout with an environment of its own, as a reader of the docs has it."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("flows", "tasks", "lm", "tokenizer", "artifacts")
FILES = ("pyproject.toml", "prefect.yaml", "prefect.toml")

SCRIPT = """#!{python}
import sys
from {module} import {function}
sys.exit({function}())
"""
SCRIPTS = {"owt": ("flows.__main__", "main"), "prefect": ("prefect.cli", "app")}


def copy_checkout(folder: Path) -> Path:
    """Copy the packages, and give the copy a `.venv` in which they are installed editable.

    The environment's libraries are those of the running one; its `owt` and `prefect` run the
    copy's code.
    """
    skip = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=skip)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    venv = folder / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    lines = [str(folder), sysconfig.get_path("purelib")]
    (venv / "lib" / version / "site-packages" / "copy.pth").write_text("\n".join(lines) + "\n")
    for name, (module, function) in SCRIPTS.items():
        script = venv / "bin" / name
        python = venv / "bin" / "python"
        script.write_text(SCRIPT.format(python=python, module=module, function=function))
        script.chmod(0o755)
    return folder
