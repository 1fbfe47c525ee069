"""The deployment for real: a Prefect server, a process worker, and the user's command."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from artifacts.store import list_records, open_store
from flows.stages import stage_ancestors
from tests.free_port import free_port
from tests.tiny_pipeline import TINY, write_corpus

ROOT = Path(__file__).resolve().parents[2]
STAGES = tuple(stage_ancestors())
PREFECT = (sys.executable, "-m", "prefect")
NUM_STAGE_RUNS = len(STAGES) + 2  # download and encode_shards run once for each split

pytestmark = pytest.mark.slow

Api = Callable[..., Any]


def process_environment(data_root: Path, port: int) -> dict[str, str]:
    """Return the environment of all processes: nothing of the user's Prefect or MLflow."""
    mine = ("PREFECT_", "MLFLOW_", "OWT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    return kept | {
        "OWT_ROOT": str(data_root),
        "PREFECT_HOME": str(data_root / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "NO_COLOR": "1",
    }


@contextmanager
def running(arguments: list[str], env: dict[str, str], log: Path) -> Iterator[None]:
    """Run a Prefect process in the checkout; kills it, and what it started, at the end."""
    with log.open("wb") as output:
        process = psutil.Popen(
            [*PREFECT, *arguments],
            cwd=ROOT,
            env=env,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        # Not SIGTERM: a worker ignores it where SIGINT came ignored, and then takes new runs.
        tree = [process, *process.children(recursive=True)] if process.is_running() else [process]
        for member in tree:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(tree, timeout=30)


def prefect(env: dict[str, str], *arguments: str) -> str:
    """Run one Prefect command in the checkout and return what it printed."""
    done = subprocess.run(
        [*PREFECT, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(condition: Callable[[], bool], *, timeout_s: float) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root of the deployment's runs."""
    root = tmp_path_factory.mktemp("deployment") / "data"
    (root / "prefect").mkdir(parents=True)
    return root


@pytest.fixture(scope="module")
def env(data_root: Path) -> Iterator[dict[str, str]]:
    """The environment of a machine with a server, the deployment and a worker."""
    port = free_port()
    env = process_environment(data_root, port)
    with ExitStack() as stack:
        server = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        stack.enter_context(running(server, env, data_root / "server.log"))
        wait_for(lambda: answers(f"{env['PREFECT_API_URL']}/health"), timeout_s=180)
        prefect(env, "work-pool", "create", "owt-local", "--type", "process")
        prefect(env, "work-pool", "set-concurrency-limit", "owt-local", "1")
        prefect(env, "--no-prompt", "deploy", "--all")
        worker = ["worker", "start", "--pool", "owt-local"]
        stack.enter_context(running(worker, env, data_root / "worker.log"))
        yield env


@pytest.fixture
def api(env: dict[str, str]) -> Api:
    """Ask the server's REST interface, by GET or, with a body, by POST."""

    def call(path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"{env['PREFECT_API_URL']}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    return call


@pytest.fixture
def overrides(tmp_path: Path) -> list[str]:
    """The settings of a tiny run on a corpus of the test's own."""
    train = write_corpus(tmp_path / "train.txt", seed=1, num_documents=200)
    valid = write_corpus(tmp_path / "valid.txt", seed=2, num_documents=20)
    return [*TINY, "train_lm.max_steps=2", f"corpus.train={train}", f"corpus.valid={valid}"]


def answers(url: str) -> bool:
    """Tell whether a server is there."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=10):
        return True
    return False


def run_deployment(env: dict[str, str], overrides: list[str], *options: str) -> None:
    """Give the user's command; with `--watch` a run that is not Completed fails."""
    parameters = ["--param", 'preset="smoke"', "--param", f"overrides={json.dumps(overrides)}"]
    prefect(env, "deployment", "run", "owt-pipeline", *parameters, *options)


def newest_flow_run(api: Api) -> dict[str, Any]:
    """Return the flow run that was started last."""
    found = api("/flow_runs/filter", {"sort": "EXPECTED_START_TIME_DESC", "limit": 1})
    return dict(found[0])


def task_states(api: Api, flow_run: dict[str, Any]) -> list[str]:
    """Return the names of the states in which the run's tasks are."""
    found = api("/task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run["id"]]}}})
    return [run["state_name"] for run in found]


def num_steps(training: Path) -> int:
    """Return how many steps the unfinished training has logged; it logs each one."""
    lines = [
        line
        for path in training.glob("*/*/work/metrics.jsonl")
        for line in path.read_text().splitlines()
        if "train/loss" in line
    ]
    return len(lines)


def test_the_deployment_names_no_place_of_a_machine(api: Api) -> None:
    """Whoever starts a worker in a checkout can run what somebody else deployed."""
    deployment = api("/deployments/name/owt-pipeline/owt-pipeline")
    assert deployment["entrypoint"] == "flows.pipeline.owt_pipeline"
    assert deployment["parameters"] == {"preset": "smoke", "overrides": []}
    assert str(ROOT) not in json.dumps(deployment)


def test_the_users_command_builds_and_then_finds_everything_cached(
    api: Api, env: dict[str, str], data_root: Path, overrides: list[str]
) -> None:
    """`prefect deployment run owt-pipeline` completes; a second one shows every stage Cached."""
    run_deployment(env, overrides, "--watch")
    first = newest_flow_run(api)
    assert first["state_name"] == "Completed"
    records = list_records(open_store(str(data_root / "artifacts")))
    assert {record.stage for record in records} == set(STAGES)
    assert {record.run_ids["prefect"] for record in records} == {first["id"]}

    run_deployment(env, overrides, "--watch")
    second = newest_flow_run(api)
    assert second["id"] != first["id"]
    # The states of task runs reach the server as events, a moment after the run's own.
    wait_for(
        lambda: task_states(api, second) == ["Cached"] * NUM_STAGE_RUNS,
        timeout_s=60,
    )


def test_a_cancelled_training_leaves_a_checkpoint(
    api: Api, env: dict[str, str], data_root: Path, overrides: list[str]
) -> None:
    """`prefect flow-run cancel` ends the run as Cancelled, and the training can go on."""
    settings = ["train_lm.max_steps=1000000", "run.checkpoint_steps=1"]
    run_deployment(env, [*overrides, *settings])
    training = data_root / "artifacts" / ".staging" / "train_lm"
    wait_for(lambda: num_steps(training) > 3, timeout_s=240)
    flow_run = newest_flow_run(api)
    prefect(env, "flow-run", "cancel", flow_run["id"])
    wait_for(lambda: newest_flow_run(api)["state_name"] == "Cancelled", timeout_s=120)
    newest = max(training.glob("*/*/work/checkpoints/step-*"))
    # A stop inside an update saves no half update: the checkpoint of the step before remains.
    steps_lost = num_steps(training) - int(newest.name.removeprefix("step-"))
    assert steps_lost in (0, 1)
    assert "Traceback" not in (data_root / "worker.log").read_text()
