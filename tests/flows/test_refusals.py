"""Prefect's own commands, where they cannot come to anything: one line, and nothing is created."""

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from threading import Thread
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL

from flows.deploying.docker_worker import starting
from flows.deploying.work_pools import Containers, cpu_pool, ensure_pool, gpu_pool
from flows.prefect_plugin import refuse_hopeless_command

CONTAINERS = Containers(
    image="owt-pipeline:cuda", gpus=-1, volumes=[], network="host", shm_size="8g", environment={}
)
WORKER = ["prefect", "worker", "start", "--pool"]
RUN = ["prefect", "deployment", "run"]


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    """A client of the session's server."""
    with get_client(sync_client=True) as found:
        yield found


def refusal(arguments: list[str]) -> str:
    """Return the line with which a command ends."""
    with pytest.raises(SystemExit) as ended:
        refuse_hopeless_command(arguments, PREFECT_API_URL.value() or "")
    line = str(ended.value)
    assert "\n" not in line
    return line


def test_a_worker_of_a_pool_that_is_not_there_creates_none(client: SyncPrefectClient) -> None:
    """Prefect would make a pool of the misspelt name; the line names those that there are."""
    ensure_pool(client, cpu_pool(1, {}))
    line = refusal([*WORKER, "owt-cpus"])
    assert line.startswith("prefect worker start: the server has no work pool 'owt-cpus'")
    assert "owt-cpu)" in line
    assert [pool.name for pool in client.read_work_pools()] == ["owt-cpu"]
    refuse_hopeless_command([*WORKER, "owt-cpu"], PREFECT_API_URL.value() or "")
    client.delete_work_pool("owt-cpu")


def test_a_run_of_a_deployment_without_its_pool_is_refused(client: SyncPrefectClient) -> None:
    """It would wait for ever; one that is there, or unknown, is Prefect's business."""
    ensure_pool(client, cpu_pool(1, {}))
    flow_id = client.create_flow_from_name("poor")
    client.create_deployment(
        flow_id, name="poor", work_pool_name="owt-cpu", entrypoint="flows.pipeline.owt_pipeline"
    )
    url = PREFECT_API_URL.value() or ""
    refuse_hopeless_command([*RUN, "poor/poor"], url)
    refuse_hopeless_command([*RUN, "unknown"], url)
    client.delete_work_pool("owt-cpu")
    assert "poor/poor has no work pool any more" in refusal([*RUN, "poor/poor"])


class Engine(BaseHTTPRequestHandler):
    """A Docker daemon without images and without a driver for GPUs."""

    def address_string(self) -> str:
        """Return a name for the peer of a Unix socket, which has no address."""
        return "here"

    def do_GET(self) -> None:
        """Answer what docker-py asks before it works."""
        answers = {"/version": '{"ApiVersion": "1.41"}', "/info": '{"Runtimes": {"runc": {}}}'}
        found = next((text for path, text in answers.items() if self.path.endswith(path)), "")
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write((found or '{"message": "no such image"}').encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


class EngineServer(ThreadingMixIn, UnixStreamServer):
    """The daemon's socket."""

    daemon_threads = True


@pytest.fixture
def gpu_workers_pool(client: SyncPrefectClient) -> Iterator[None]:
    """The pool of containers; the checks read its template from the server."""
    pytest.importorskip("prefect_docker", reason="needs the extra docker")
    ensure_pool(client, gpu_pool(1, CONTAINERS))
    yield
    client.delete_work_pool("owt-gpu")


def test_a_worker_without_a_docker_daemon_is_refused(
    gpu_workers_pool: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the ways out: there is no socket, or nobody listens on it."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    assert "no Docker daemon answers this user at unix:" in refusal([*WORKER, "owt-gpu"])
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "docker.sock"))
    assert "systemctl start docker" in refusal([*WORKER, "owt-gpu"])


def test_a_worker_says_at_once_what_its_runs_will_lack(
    gpu_workers_pool: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The image and the NVIDIA runtime, a line each; it starts, since a run may need neither."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with EngineServer(str(tmp_path / "docker.sock"), Engine) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        refuse_hopeless_command([*WORKER, "owt-gpu"], PREFECT_API_URL.value() or "")
        server.shutdown()
    image, gpu = capsys.readouterr().err.splitlines()
    assert "no image 'owt-pipeline:cuda'; build it with docker build" in image
    assert "Docker has no NVIDIA runtime, and runs ask for GPUs" in gpu


class Container:
    """A container as docker-py has it; the daemon refuses to start it."""

    def __init__(self, answer: str, *, is_there: bool) -> None:
        self.answer = answer
        self.is_there = is_there

    def start(self) -> None:
        """Be refused."""
        raise OSError(self.answer)

    def remove(self, **_: Any) -> None:
        """Be gone, once."""
        if not self.is_there:
            raise LookupError("no such container")
        self.is_there = False


@pytest.mark.parametrize("is_there", [True, False], ids=["kept", "removed by the daemon"])
@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (
            'could not select device driver "nvidia" with capabilities: [[gpu]]',
            r"Docker gives this run no GPU .*install the NVIDIA Container Toolkit",
        ),
        ("network owt not found", "^network owt not found$"),
    ],
)
def test_a_container_that_cannot_start_is_removed(
    answer: str, problem: str, is_there: bool
) -> None:
    """Prefect's worker would leave it there; a missing driver is explained."""
    container = Container(answer, is_there=is_there)
    with pytest.raises((RuntimeError, OSError), match=problem):
        starting(container)()
    assert not container.is_there
