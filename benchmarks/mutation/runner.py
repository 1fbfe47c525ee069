"""One run of the tests that judge a mutant, in a forked process that has the slow imports done."""

import contextlib
import gc
import importlib
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, Phase, settings

_PRELOADED = (
    *("beartype", "fsspec", "jaxtyping", "numba", "numpy", "psutil", "pyarrow.parquet"),
    *("regex", "safetensors.torch", "tiktoken", "tokenizers", "torch"),
)
"""What nearly all tests import; with these loaded a run starts in one second instead of three."""

_QUICK = (
    *("-x", "-q", "--tb=line", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:anyio"),
    "--timeout=0",
    "--hypothesis-profile=mutation",
)
"""The first failure ends it, and nobody reads its values; a busy machine fails no test."""

_MAX_MEMORY_BYTES, _MAX_FILE_BYTES = 2**34, 2**30
"""What a mutant may take before it fails, so that a loop without end does not fill the machine."""

_NAP_S, _NAPS_A_LOOK = 0.02, 25
"""How long to wait for a run to end before asking again, and every so many times looking at it."""


def prepare() -> None:
    """Import what tests need, and nothing of this project, so that a fork can load a mutant."""
    for name in _PRELOADED:
        importlib.import_module(name)
    # Fewer examples, always the same, and no search for the smallest: the first failure is enough.
    settings.register_profile(
        "mutation",
        max_examples=30,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    gc.freeze()  # pytest collects garbage ten times at its end


def copy_checkout(source: Path, target: Path) -> None:
    """Copy the files of a checkout that git knows or would add, with their times."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=source,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def run_tests(
    checkout: Path, tests: str, *, limit_s: float, log: Path, keep_bytecode: bool = False
) -> tuple[bool, float]:
    """Run tests of a checkout; return whether all passed in time, and the CPU seconds."""
    child = os.fork()
    if child == 0:
        # The code of a mutant must not outlive it.
        sys.dont_write_bytecode = not keep_bytecode
        _run_pytest(checkout, tests.split(), log, int(limit_s))
    # CPU seconds end a loop, and idle looks end a wait, however busy or paused the machine is.
    idle_looks = 0
    for nap in itertools.count():
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        time.sleep(_NAP_S)
        if nap % _NAPS_A_LOOK == 0 and _is_idle(child):
            idle_looks += 1
            if idle_looks * _NAPS_A_LOOK * _NAP_S > limit_s:
                os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status) == 0, usage.ru_utime + usage.ru_stime


def _is_idle(process_id: int) -> bool:
    """Tell whether no thread of a process and its descendants runs, or would if it had a core."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(process_id)
        family = [process.pid, *(child.pid for child in process.children(recursive=True))]
        stats = [path for pid in family for path in Path(f"/proc/{pid}/task").glob("*/stat")]
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The state follows the name, which is in brackets.
            return not any(path.read_text().rpartition(")")[2].split()[0] in "RD" for path in stats)
    return False


def _run_pytest(checkout: Path, tests: list[str], log: Path, limit_s: int) -> None:
    """Be the process that runs the tests, and end."""
    os.setpgid(0, 0)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))
    os.environ |= {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    # The tests must find the mutant's modules, not those of the checkout that this one is from.
    here = {"", str(Path(__file__).parents[2])}
    sys.path[:] = [str(checkout), *(entry for entry in sys.path if entry not in here)]
    os.chdir(checkout)
    code = 1
    try:
        code = int(pytest.main([*_QUICK, *tests]))
    finally:
        os._exit(code)
