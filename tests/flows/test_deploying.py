"""What `owt deploy` tells a server: pools, automations, and which restarts are refused."""

from collections.abc import Iterator

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from flows.cli.deploy import deploy, parse_environment
from flows.deploying.automations import end_silent_runs, ensure_automation, restart_killed_runs
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


def test_a_killed_run_starts_again_three_times() -> None:
    """Then it ends; preemptions do not count, and a cancelled run stays cancelled."""
    once = ["Crashed", "AwaitingRetry", "Pending", "Running"]
    assert hopeless(["Running", *once * MAX_RESTARTS]) == ""
    assert "killed 4 times" in hopeless(["Running", *once * (MAX_RESTARTS + 1)])
    assert hopeless(["Running", "AwaitingRetry"] * 20) == ""
    assert "was cancelled" in hopeless(["Running", "Cancelling", *once])
    assert hopeless(["Running", *once, "Cancelling"]) == ""
