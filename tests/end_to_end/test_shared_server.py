"""One Prefect server for all commands over a data root, and none when the last is gone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.cli.serving.servers import ended_by_signals
from flows.cli.serving.shared_server import refuse_silent_server
from tests.end_to_end.test_ui import living, process_environment
from tests.free_port import free_port
from tests.tiny_pipeline import TINY, write_corpus

ROOT = Path(__file__).resolve().parents[2]
USER = """
import sys
from pathlib import Path
from flows.cli.serving.shared_server import using_server
from flows.settings import prepare_environment
root = Path(sys.argv[1])
prepare_environment(root)
with using_server(root) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
LIMIT_S = 240


def start_user(data_root: Path) -> subprocess.Popen[str]:
    """Start a process that uses the server until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", USER, str(data_root)],
        cwd=ROOT,
        env=process_environment(data_root),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def address_of(user: subprocess.Popen[str]) -> str:
    """Return the address that a user prints once the server answers."""
    assert user.stdout is not None
    return user.stdout.readline().strip()


def server_family(data_root: Path) -> list[psutil.Process]:
    """Return the keeper and all processes below it."""
    keeper = psutil.Process(
        int(json.loads((data_root / "prefect" / "server.json").read_text())["keeper"])
    )
    return [keeper, *keeper.children(recursive=True)]


def wait_until_gone(family: list[psutil.Process]) -> None:
    """Wait until none of the processes runs."""
    deadline = time.monotonic() + LIMIT_S
    while living(family):
        assert time.monotonic() < deadline, living(family)
        time.sleep(0.1)


@pytest.mark.slow
def test_commands_at_once_share_a_server(tmp_path: Path) -> None:
    """Four users of a new data root have one server; it goes with the last, killed or not."""
    users = [start_user(tmp_path) for _ in range(4)]
    addresses = [address_of(user) for user in users]
    assert addresses[0].startswith("http://127.0.0.1:")
    assert addresses == [addresses[0]] * 4
    family = server_family(tmp_path)
    users[0].communicate(timeout=LIMIT_S)
    users[1].kill()
    users[1].communicate()
    assert len(living(family)) == len(family)
    late = start_user(tmp_path)
    assert address_of(late) == addresses[0]
    for user in [users[2], users[3], late]:
        user.communicate(timeout=LIMIT_S)
        assert user.returncode == 0
    # The last one waits for the server's end.
    assert living(family) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_a_killed_command_leaves_no_server(tmp_path: Path, number: signal.Signals) -> None:
    """However a command dies, its server ends by itself, and the next command has another one."""
    user = start_user(tmp_path)
    address_of(user)
    family = server_family(tmp_path)
    user.send_signal(number)
    user.communicate()
    wait_until_gone(family)
    after = start_user(tmp_path)
    assert address_of(after).startswith("http://")
    after.communicate(timeout=LIMIT_S)
    assert after.returncode == 0


@pytest.mark.slow
def test_runs_at_once_on_a_new_root_all_end_well(tmp_path: Path) -> None:
    """Several `owt run` start together on an empty data root; each ends with 0."""
    corpus = write_corpus(tmp_path / "train.txt", seed=0, num_documents=60)
    valid = write_corpus(tmp_path / "valid.txt", seed=1, num_documents=10)
    settings = [*TINY, f"corpus.train={corpus}", f"corpus.valid={valid}"]
    words = [word for setting in settings for word in ("--set", setting)]
    runs = [
        subprocess.Popen(
            [sys.executable, "-m", "flows", "run", *words],
            cwd=ROOT,
            env=process_environment(tmp_path / "data"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [run.communicate(timeout=2 * LIMIT_S)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0], "\n\n".join(outputs)
    assert not (tmp_path / "data" / "prefect" / "server.json").exists()


def test_a_silent_address_is_refused() -> None:
    """An address at which nobody answers is named, with the way out."""
    url = f"http://127.0.0.1:{free_port()}/api"
    with pytest.raises(ValueError, match=rf"PREFECT_API_URL \({url}\).*unset PREFECT_API_URL"):
        refuse_silent_server(url)
    with pytest.raises(ValueError, match="no Prefect server answers"):
        refuse_silent_server("no address")


def test_a_closed_terminal_ends_the_body() -> None:
    """SIGHUP and SIGTERM end it as Ctrl-C does; afterwards no signal disturbs the cleaning up."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            with pytest.raises(KeyboardInterrupt), ended_by_signals():
                signal.raise_signal(number)
            os.kill(os.getpid(), number)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
