"""The stack of docker/ on a real Docker engine: PostgreSQL, S3, both servers, runs in a pool."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from artifacts.store import list_records, open_store
from flows.stages import stage_ancestors
from tests.checkout_copy import ROOT
from tests.containers.stack import Stack, running_stack
from tests.deployment_page import wait_for

pytestmark = pytest.mark.containers

STORE = "s3://owt/artifacts"
"""Where the pool's runs keep their artifacts, by docker/compose.yaml."""

NEWER = "CREATE TABLE alembic_version AS SELECT 'ffffffffffff'::varchar AS version_num"
SMOKE = ["--param", 'preset="smoke"']
STEPS = 300
"""Of the preset's training: half a minute, in which a container is stopped and another killed."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The services of docker/compose.yaml, told of the flow by their own `owt deploy`."""
    with (
        running_stack(tmp_path_factory.mktemp("engine")) as stack,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in stack.user_environment.items():
            patch.setenv(name, value)
        assert "Exited (0)" in stack.container("deploy", "{{.Status}}")  # Compose waits for it
        yield stack


def start_run(stack: Stack, *options: str) -> str:
    """Give the user's command for the container pool; return the id of the flow run."""
    command = ["-m", "prefect", "deployment", "run", "owt-pipeline/gpu", *SMOKE, *options]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | stack.user_environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(line.split()[-1] for line in done.stdout.splitlines() if "UUID" in line)


def ask(stack: Stack, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the Prefect server's REST interface, by GET or, with a body, by POST."""
    request = Request(
        stack.user_environment["PREFECT_API_URL"] + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=60) as response:
        return json.load(response)


def states(stack: Stack, flow_run: str) -> list[str]:
    """Return the names of the states in which a run was, in order."""
    found = ask(stack, f"/flow_run_states/?flow_run_id={flow_run}")
    return [f"{state['name']}: {state['message'] or ''}" for state in found]


def wait_until_completed(stack: Stack, flow_run: str) -> None:
    """Wait for a run's good end; a bad one fails at once, with its message."""

    def has_ended() -> bool:
        last = states(stack, flow_run)[-1]
        assert not last.startswith(("Failed", "Cancelled")), last
        return last.startswith("Completed")

    wait_for(has_ended, timeout_s=900)


def container(stack: Stack, flow_run: str) -> str:
    """Return the container in which a run is now; "": none."""
    label = f"label=io.prefect.flow-run-id={flow_run}"
    return stack.docker("ps", "-q", "--filter", label).strip()


def tracked_stages(flow_run: str) -> list[Any]:
    """Return the runs in MLflow of the stages that a flow run built; a resumed one has several."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiments = [found.experiment_id for found in client.search_experiments()]
    parents = client.search_runs(experiments, f"tags.`prefect.flow_run_id` = '{flow_run}'")
    ids = {run.info.run_id for run in parents}
    return [
        run
        for run in client.search_runs(experiments)
        if run.data.tags.get("mlflow.parentRunId") in ids
    ]


def trained_steps(flow_run: str) -> int:
    """Return the last step of a run's training that MLflow knows of."""
    from mlflow.tracking import MlflowClient

    steps = [
        metric.step
        for run in tracked_stages(flow_run)
        for metric in MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    ]
    return max(steps, default=0)


def files(store: str) -> dict[str, dict[str, str]]:
    """Return the files of each artifact that must be the same, with their hashes."""
    records = list_records(open_store(store))
    return {
        record.place: {f.name: f.sha256 for f in record.files if f.name not in record.volatile}
        for record in records
    }


@pytest.fixture(scope="module")
def undisturbed(stack: Stack, request: pytest.FixtureRequest) -> str:
    """A run of the smoke preset in a container; its artifacts are on S3, where the pool says."""
    flow_run = start_run(stack)
    wait_until_completed(stack, flow_run)
    size = stack.docker("image", "inspect", "--format", "{{.Size}}", "owt-pipeline:cpu")
    request.config.get_terminal_writer().line(
        f"\nimage {int(size) / 1e9:.2f} GB; engine and images {stack.built_s:.0f} s, "
        f"from then to the first finished run {stack.seconds() - stack.built_s:.0f} s"
    )
    return flow_run


def test_a_run_in_a_container_keeps_its_artifacts_on_s3_and_its_curves_in_postgresql(
    stack: Stack, undisturbed: str
) -> None:
    """Every stage has a record that names the run and the image's commit."""
    records = list_records(open_store(STORE))
    assert {record.stage for record in records} == set(stage_ancestors())
    assert {record.run_ids["prefect"] for record in records} == {undisturbed}
    assert {record.code_version for record in records} == {"0123abc"}
    assert trained_steps(undisturbed) == STEPS
    postgres = stack.container("postgres", "{{.ID}}")
    query = ["psql", "-U", "postgres", "-d", "mlflow", "-tAc", "select count(*) from runs"]
    assert int(stack.docker("exec", postgres, *query)) > len(stage_ancestors()) / 2


def test_one_stage_alone_is_built_again(stack: Stack, undisturbed: str) -> None:
    """What it needs shows Cached in Prefect; MLflow has the run, with that stage only."""
    before = files(STORE)
    only = ["--param", 'only="evaluate"', "--param", 'force=["evaluate"]']
    flow_run = start_run(stack, *only)
    wait_until_completed(stack, flow_run)
    wanted = {"flow_runs": {"id": {"any_": [flow_run]}}}
    tasks = ask(stack, "/task_runs/filter", wanted)
    shown = {task["name"].split()[0]: task["state_name"] for task in tasks}  # both splits as one
    assert shown.pop("evaluate") == "Completed"
    assert set(shown.values()) == {"Cached"}
    assert {*shown, "evaluate"} == {*stage_ancestors()["evaluate"], "evaluate"}
    assert [run.data.tags["stage"] for run in tracked_stages(flow_run)] == ["evaluate"]
    made_by = {
        record.stage: record.run_ids["prefect"] for record in list_records(open_store(STORE))
    }
    assert made_by.pop("evaluate") == flow_run
    assert set(made_by.values()) == {undisturbed}
    assert files(STORE) == before


def test_a_container_that_is_stopped_and_one_that_is_killed_end_in_the_same_bytes(
    stack: Stack, undisturbed: str
) -> None:
    """`docker stop` saves and reschedules; `docker kill` crashes, and the automation restarts."""
    flow_run = start_run(stack, "--param", 'overrides=["run.store=s3://owt/disturbed"]')
    wait_for(lambda: trained_steps(flow_run) > 0, timeout_s=600)
    stack.docker("stop", "--time", "120", container(stack, flow_run))
    wait_for(lambda: "AwaitingRetry: " in " ".join(states(stack, flow_run)), timeout_s=120)
    assert not any(state.startswith("Crashed") for state in states(stack, flow_run))
    stopped_at = trained_steps(flow_run)
    assert stopped_at < STEPS

    wait_for(lambda: trained_steps(flow_run) > stopped_at, timeout_s=300)
    stack.docker("kill", container(stack, flow_run))
    wait_until_completed(stack, flow_run)
    names = [state.partition(":")[0] for state in states(stack, flow_run)]
    assert names.count("Crashed") == 1
    assert names.count("Running") == 3
    assert files("s3://owt/disturbed") == files(STORE)


def test_a_request_for_a_gpu_reaches_the_daemon(stack: Stack) -> None:
    """Where there is no driver the daemon refuses, in words, and the run is not tried again."""
    request = {"driver": "nvidia", "count": -1, "capabilities": [["gpu"]]}
    options = f"container_create_kwargs={json.dumps({'device_requests': [request]})}"
    flow_run = start_run(stack, "--job-variable", options)
    wait_for(lambda: states(stack, flow_run)[-1].startswith("Crashed"), timeout_s=120)
    refusal = states(stack, flow_run)[-1]
    assert 'could not select device driver "nvidia"' in refusal
    assert "install the NVIDIA Container Toolkit" in refusal
    assert "\n" not in refusal.strip()
    label = f"label=io.prefect.flow-run-id={flow_run}"
    assert stack.docker("ps", "-aq", "--filter", label) == ""


def test_a_server_refuses_the_database_of_a_newer_image(stack: Stack) -> None:
    """In one line, before it starts; the image's own command asks."""
    postgres = stack.container("postgres", "{{.ID}}")
    for database, order in [("postgres", "CREATE DATABASE newer"), ("newer", NEWER)]:
        stack.docker("exec", postgres, "psql", "-U", "postgres", "-d", database, "-c", order)
    url = "postgresql+asyncpg://postgres:not-a-secret@postgres/newer"
    module = ["python", "-m", "flows.deploying.database_version"]
    for server in ("prefect", "mlflow"):
        done = subprocess.run(
            ["docker", "run", "--rm", "--network", "owt", "owt-pipeline:cpu", *module, server, url],
            env=stack.docker_environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert f"{server}: the database postgresql+asyncpg://postgres:***@postgres/newer" in line
        assert "of a newer image" in line


def test_no_secret_is_in_the_image_or_on_the_server(stack: Stack) -> None:
    """The pool's variables name a file; the layers hold only what `.dockerignore` lets in."""
    assert "not-a-secret" not in json.dumps(ask(stack, "/work_pools/owt-gpu"))
    listed = stack.docker("run", "--rm", "owt-pipeline:cpu", "ls", "-A", "/app").split()
    assert ".env" not in listed
    assert "docker" not in listed
    assert stack.docker("run", "--rm", "owt-pipeline:cpu", "id", "-u").strip() == "1000"


def test_every_port_is_on_the_loopback_address() -> None:
    """Nothing of the stack is offered to the network unless somebody says so."""
    text = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    ports = [line.strip() for line in text.splitlines() if line.strip().startswith("ports:")]
    assert len(ports) == 3
    assert all("${OWT_BIND:-127.0.0.1}:" in line for line in ports)
    assert not any(Path(ROOT / "docker").glob("*.py"))
