"""What `owt deploy` tells a server: pools, automations, and which restarts are refused."""

import importlib
import json
import re
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli.deploy import deploy, parse_environment
from flows.deploying.automations import end_silent_runs, ensure_automation, restart_killed_runs
from flows.deploying.checkout import CHECKOUT
from flows.deploying.deploy import deploy as deploy_to
from flows.deploying.refusals import ENTRYPOINTS
from flows.deploying.work_pools import (
    Containers,
    WorkPool,
    cpu_pool,
    ensure_pool,
    gpu_pool,
    job_template,
)
from flows.restarts import MAX_RESTARTS, hopeless

CONTAINERS = Containers(
    image="owt-pipeline:cuda",
    gpus=-1,
    volumes=["owt-data:/data"],
    network="host",
    shm_size="8g",
    environment={"OWT_STORE": "s3://bucket/owt"},
)


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    """A client of the session's server."""
    with get_client(sync_client=True) as found:
        yield found


@pytest.mark.parametrize("pool", [cpu_pool(1, {}), gpu_pool(2, CONTAINERS)], ids=lambda p: p.name)
def test_a_pool_is_created_once_and_updated_when_it_differs(
    client: SyncPrefectClient, pool: WorkPool
) -> None:
    """The second time nothing is done; another limit reaches the server."""
    assert ensure_pool(client, pool) == "created"
    assert ensure_pool(client, pool) == "unchanged"
    larger = WorkPool(**{**vars(pool), "limit": pool.limit + 3})
    assert ensure_pool(client, larger) == "updated"
    assert client.read_work_pool(pool.name).concurrency_limit == pool.limit + 3
    other = WorkPool(**{**vars(pool), "type": "kubernetes"})
    with pytest.raises(ValueError, match=rf"{pool.name} is of type {pool.type}, not kubernetes"):
        ensure_pool(client, other)
    client.delete_work_pool(pool.name)


def test_a_container_asks_for_gpus_and_lets_its_training_save() -> None:
    """Prefect's Docker worker reads the template as docker-py's arguments."""
    worker = pytest.importorskip("prefect_docker.worker", reason="needs prefect-docker")
    variables = gpu_pool(1, CONTAINERS).variables
    template = job_template(gpu_pool(1, CONTAINERS))
    configuration = worker.DockerWorkerJobConfiguration(
        **{name: variables.get(name) for name in template["job_configuration"] if name in variables}
    )
    assert configuration.container_create_kwargs["device_requests"] == [
        {"driver": "nvidia", "count": -1, "capabilities": [["gpu"]]}
    ]
    assert configuration.env["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert configuration.env["OWT_STORE"] == "s3://bucket/owt"
    none = gpu_pool(1, Containers(**{**vars(CONTAINERS), "gpus": 0}))
    assert "device_requests" not in none.variables["container_create_kwargs"]


@pytest.mark.parametrize("make", [end_silent_runs, restart_killed_runs])
def test_an_automation_is_installed_once(client: SyncPrefectClient, make: object) -> None:
    """The second time nothing is done; what somebody changed in the page is set back."""
    assert callable(make)
    wanted = make()
    assert ensure_automation(client, wanted) == "created"
    assert ensure_automation(client, make()) == "unchanged"
    (found,) = client.read_automations_by_name(wanted.name)
    wanted.enabled = False
    client.update_automation(found.id, wanted)
    assert ensure_automation(client, make()) == "updated"
    assert client.read_automations_by_name(wanted.name)[0].enabled
    client.delete_automation(found.id)


def test_each_deployment_is_of_a_flow_that_is_told_of() -> None:
    """What `prefect.yaml` deploys can be imported, and `owt deploy` names it."""
    deployments = (CHECKOUT / "prefect.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"entrypoint: (\S+)", deployments)) == set(ENTRYPOINTS)
    for entrypoint in ENTRYPOINTS:
        module, _, name = entrypoint.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), name), Flow)


def test_a_secret_does_not_go_to_the_server() -> None:
    """A pool's variables are readable; a file's name is no secret."""
    assert parse_environment(["AWS_SHARED_CREDENTIALS_FILE=/run/secrets/aws", "A=b=c"]) == {
        "AWS_SHARED_CREDENTIALS_FILE": "/run/secrets/aws",
        "A": "b=c",
    }
    with pytest.raises(ValueError, match=r"--env \(AWS_SECRET_ACCESS_KEY\) looks like a secret"):
        parse_environment(["AWS_SECRET_ACCESS_KEY=x"])
    with pytest.raises(ValueError, match="must look like NAME=VALUE"):
        parse_environment(["OWT_STORE"])


def test_a_server_that_is_away_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address there is nothing to deploy to."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(ValueError, match="PREFECT_API_URL is not set"):
        deploy()


@pytest.fixture
def refusing_server() -> Iterator[Callable[[dict[str, tuple[int, Any]]], str]]:
    """Start a server of given answers by path; it takes no order that would create something."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: dict[str, tuple[int, Any]]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = self.path.removeprefix("/api").partition("?")[0]
                status, body = answers.get(path, (404, "nothing else is asked for"))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            do_GET = do_POST = answer  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/api"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        (
            {"/admin/version": (401, "who are you?")},
            "refuses this user; set PREFECT_API_AUTH_STRING",
        ),
        (
            {"/admin/version": (200, "2.20.1"), "/work_pools/filter": (200, [])},
            r"is Prefect 2\.20\.1, this environment has 3\.",
        ),
    ],
    ids=["wrong password", "another version"],
)
def test_a_server_that_cannot_be_worked_with_is_refused_before_anything_is_created(
    refusing_server: Callable[[dict[str, tuple[int, Any]]], str],
    answers: dict[str, tuple[int, Any]],
    problem: str,
) -> None:
    """One line with the server's address; the pools come after the question."""
    url = refusing_server(answers)
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(ValueError, match=problem) as refused,
    ):
        list(deploy_to(url, [cpu_pool(1, {})]))
    assert url in str(refused.value)


def test_a_killed_run_starts_again_three_times() -> None:
    """Then it ends; preemptions do not count, and a cancelled run stays cancelled."""
    once = ["Crashed", "AwaitingRetry", "Pending", "Running"]
    assert hopeless(["Running", *once * MAX_RESTARTS]) == ""
    assert "killed 4 times" in hopeless(["Running", *once * (MAX_RESTARTS + 1)])
    assert hopeless(["Running", "AwaitingRetry"] * 20) == ""
    assert "was cancelled" in hopeless(["Running", "Cancelling", *once])
    assert hopeless(["Running", *once, "Cancelling"]) == ""
