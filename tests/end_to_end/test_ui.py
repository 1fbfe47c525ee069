"""`owt ui`: both pages come up over a data root, and go without leaving a process."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from flows.settings import EXPERIMENT
from tasks.tracking.runs import TrackingTarget, start_pipeline_run
from tests.free_port import free_port

ROOT = Path(__file__).resolve().parents[2]


def process_environment(data_root: Path) -> dict[str, str]:
    """Return the environment of the command: nothing of the user's Prefect or MLflow."""
    mine = ("PREFECT_", "MLFLOW_", "OWT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {"OWT_ROOT": str(data_root)}


@contextmanager
def running_ui(data_root: Path, ports: list[int]) -> Iterator[psutil.Popen]:
    """Run the command until the body ends; then nothing of it is left."""
    process = psutil.Popen(
        [sys.executable, "-m", "flows", "ui", *port_options(ports)],
        cwd=ROOT,
        env=process_environment(data_root),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                for member in [process, *process.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        member.kill()


def port_options(ports: list[int]) -> list[str]:
    """Return the options for MLflow's and Prefect's port."""
    return ["--mlflow-port", str(ports[0]), "--prefect-port", str(ports[1])]


def read_until_ready(process: psutil.Popen) -> list[str]:
    """Return the lines that the command prints up to the one about Ctrl-C."""
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith("Ctrl-C"):
            break
    return lines


def read_as_browser(url: str) -> bytes:
    """Return a page; Prefect serves its own only to a client that accepts HTML."""
    request = urllib.request.Request(url, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return bytes(response.read())


def status(url: str, headers: dict[str, str], data: bytes | None = None) -> int:
    """Return how a server answers; with data, a form that a page can send without being asked."""
    request = urllib.request.Request(url, data, {"Content-Type": "text/plain"} | headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def refuse_foreign_pages(ports: list[int]) -> None:
    """Ask both servers by another name and from another page: neither does anything."""
    mlflow, prefect = (f"http://127.0.0.1:{port}/api" for port in ports)
    foreign = {"Origin": "https://example.com"}
    for url, form in (
        (f"{mlflow}/2.0/mlflow/experiments/create", b'{"name": "theirs"}'),
        (f"{prefect}/flows/", b'{"name": "theirs"}'),
    ):
        assert status(url, foreign, form) == 403
        assert status(url, {"Host": "10.example.com"}, form) == 403
    assert status(f"{mlflow}/2.0/mlflow/experiments/get?experiment_id=1", {}) == 200
    renamed = {"Host": "10.example.com:5000"}
    assert status(f"{mlflow}/2.0/mlflow/experiments/get?experiment_id=1", renamed) == 403
    own_page = {"Origin": prefect.removesuffix("/api"), "Content-Type": "application/json"}
    assert status(f"{prefect}/flows/filter", own_page, b"{}") == 200


def living(family: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that still run; a dead one that nobody waits for is none of them."""
    found = []
    for member in family:
        with suppress(psutil.NoSuchProcess):
            if member.status() != psutil.STATUS_ZOMBIE:
                found.append(member)
    return found


def is_free(port: int) -> bool:
    """Tell whether nobody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.slow
def test_ctrl_c_and_sigterm_stop_both_pages(tmp_path: Path) -> None:
    """Both addresses answer, MLflow's leads to the runs; a signal ends every process, exit 0."""
    (tmp_path / "mlflow").mkdir()
    target = TrackingTarget(uri=f"sqlite:///{tmp_path}/mlflow/mlflow.db", experiment=EXPERIMENT)
    start_pipeline_run(target, name="a run", params={}, tags={}).finish("FINISHED")
    for number in (signal.SIGINT, signal.SIGTERM):
        ports = [free_port(), free_port()]
        with running_ui(tmp_path, ports) as process:
            lines = read_until_ready(process)
            pages = dict(line.split(maxsplit=1) for line in lines if "://" in line)
            assert "/#/experiments/1/runs?workflowType=machine_learning&" in pages["MLflow:"]
            for page in pages.values():
                assert b"<html" in read_as_browser(page).lower()
            refuse_foreign_pages(ports)
            facts = json.loads(read_as_browser(f"http://127.0.0.1:{ports[1]}/ui-settings"))
            assert facts["api_url"] == f"http://127.0.0.1:{ports[1]}/api"
            family = process.children(recursive=True)
            assert len(family) >= len(ports)
            process.send_signal(number)
            assert process.wait(60) == 0, process.stderr.read()
        assert living(family) == []
        assert all(map(is_free, ports))
    assert (tmp_path / "prefect" / "prefect.db").exists()


@pytest.mark.slow
def test_a_server_that_ends_takes_the_command_with_it(tmp_path: Path) -> None:
    """One line says which one and where its log is, and the other page is stopped, too."""
    ports = [free_port(), free_port()]
    with running_ui(tmp_path, ports) as process:
        read_until_ready(process)
        family = process.children(recursive=True)
        process.children()[0].kill()
        assert process.wait(60) == 1
        assert "mlflow ended with exit code -9; see " in process.stderr.read()
    assert living(family) == []


@pytest.mark.parametrize("taken", [0, 1])
def test_a_taken_port_is_refused_in_one_line(tmp_path: Path, taken: int) -> None:
    """The message names the port and the option; nothing is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ports = [free_port(), free_port()]
        ports[taken] = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "flows", "ui", *port_options(ports)],
            cwd=ROOT,
            env=process_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )
    name = ("mlflow", "prefect")[taken]
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"owt: error: port {ports[taken]} on 127.0.0.1 is taken; "
        f"give {name} another one with --{name}-port\n"
    )
