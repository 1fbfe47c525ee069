"""Where no engine can be had, the script says why in one line, at once, and changes nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.stack import HERE, SKIPPED

needs_root = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root can give a capability away",
)


def start(folder: Path, *before: str, **environment: str) -> str:
    """Ask for an engine on a machine that lacks something; return the reason of the skip."""
    done = subprocess.run(
        [*before, str(HERE / "engine.sh"), "start", str(folder)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == SKIPPED, done.stdout + done.stderr
    assert not (folder / "apt.log").exists()  # nothing was installed
    assert not (folder / "dockerd.log").exists()
    (line,) = done.stdout.splitlines()
    return line


def without(capability: str) -> list[str]:
    """Return the command that runs another one as root without a capability, as containers do."""
    return ["setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}"]


@needs_root
@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (["setpriv", "--reuid=65534", "--clear-groups"], "needs root"),
        (without("sys_admin"), "lacks CAP_SYS_ADMIN"),
        (without("net_admin"), "lacks CAP_NET_ADMIN"),
    ],
    ids=["a plain user", "a container that may not mount", "a container without a network"],
)
def test_what_the_process_may_not_do_is_the_reason(
    before: list[str], reason: str, tmp_path: Path
) -> None:
    """Each of these would otherwise fail minutes later, in the daemon's own words."""
    assert reason in start(tmp_path, *before)


@needs_root
def test_too_small_a_machine_is_the_reason(tmp_path: Path) -> None:
    """The line says what is needed, and what there is."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets root mount nothing, which comes before its size")
    assert "take 1000000 GB, " in start(tmp_path, NEEDED_DISK_GB="1000000")
    memory = start(tmp_path, NEEDED_DISK_GB="0", NEEDED_MEMORY_GB="1000000")
    assert "take 1000000 GB of memory, " in memory


def test_what_was_never_started_is_stopped_in_silence(tmp_path: Path) -> None:
    """The test calls it whatever became of the start."""
    done = subprocess.run(
        [str(HERE / "engine.sh"), "stop", str(tmp_path)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
