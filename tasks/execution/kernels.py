"""The tokenizer's kernels are compiled beside other work, each group before its stage needs it.

Two processes do it, so that two cores take half the time. Every run of this machine finds what one
has compiled, and waits for what another one is compiling.
"""

import subprocess
import sys
import time
from functools import cache

from tasks.watching.events import CompileEnded, CompileStarted, emit
from tasks.watching.stopping import stop_switch
from tokenizer.compile_kernels import GROUPS, is_being_compiled, is_compiled

SHARES = (("count", "encode"), ("merge",))
"""Groups that one process compiles, in the order of the stages; the second has kernels of the
first, which it finds compiled. Both take about as long."""
EXPECTED_S = {"count": 7.0, "merge": 11.0, "encode": 12.0}
"""Processor seconds of each group alone, on a core of an AMD EPYC (Zen 4) that was busy."""
POLL_INTERVAL_S = 0.1


@cache
def begin_to_compile(cache_dir: str) -> tuple[subprocess.Popen[bytes], ...]:
    """Start to compile what is not compiled yet, once a process; does not wait for it."""
    if all(is_compiled(group, cache_dir) for group in GROUPS):
        return ()
    command = [sys.executable, "-m", "tokenizer.compile_kernels", cache_dir]
    return tuple(
        subprocess.Popen(
            [*command, *share],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # what fails here fails again, aloud, in the stage
        )
        for share in SHARES
    )


def wait_until_compiled(group: str, cache_dir: str) -> None:
    """Wait for a group of kernels; without success the stage compiles them itself.

    Raises:
        RunStopped: The run was stopped meanwhile.
    """
    if is_compiled(group, cache_dir):
        return
    processes = begin_to_compile(cache_dir)
    emit(CompileStarted(what="kernels, once on this machine", expected_s=EXPECTED_S[group]))
    while not is_compiled(group, cache_dir):
        stop_switch().check()
        is_somebody_at_it = any(process.poll() is None for process in processes)
        if not is_somebody_at_it and not is_being_compiled(group, cache_dir):
            break
        time.sleep(POLL_INTERVAL_S)
    emit(CompileEnded())
