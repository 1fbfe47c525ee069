"""The deployment as docs/deployment.md has it: the page's commands in a reader's environment."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from artifacts.store import list_records, open_store
from flows.stages import stage_ancestors
from tests.checkout_copy import copy_checkout
from tests.deployment_page import Reader, Terminal, kill_tree, read_terminals, wait_for
from tests.free_port import free_port
from tests.tiny_pipeline import TINY, write_corpus

STAGES = tuple(stage_ancestors())
NUM_STAGE_RUNS = len(STAGES) + 2  # download and encode_shards run once for each split

pytestmark = pytest.mark.slow

Api = Callable[..., Any]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """A reader with a checkout; what they train on lies beside the code."""
    checkout = copy_checkout(tmp_path_factory.mktemp("checkout"))
    write_corpus(checkout / "train.txt", seed=1, num_documents=200)
    write_corpus(checkout / "valid.txt", seed=2, num_documents=20)
    return Reader(checkout=checkout, home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def ports() -> dict[str, str]:
    """Free ports for the page's own, the one thing that is not as printed."""
    prefect, mlflow = free_port(), free_port()
    return {
        "127.0.0.1:4200": f"127.0.0.1:{prefect}",
        "owt ui\n": f"owt ui --prefect-port {prefect} --mlflow-port {mlflow}\n",
    }


@pytest.fixture(scope="module")
def terminal(reader: Reader, ports: dict[str, str]) -> Iterator[Terminal]:
    """The shell in which runs are started, once all of "Once" has been typed."""
    servers, pool = read_terminals("Once", ports)
    (each_run,) = read_terminals("Each run", {k: v for k, v in ports.items() if ":" in k})
    with ExitStack() as stack:
        pages = reader.checkout / "ui.log"
        stack.enter_context(reader.keep(servers, servers.commands[0], pages))
        wait_for(lambda: "Ctrl-C" in pages.read_text(), timeout_s=240)
        *once, worker = pool.commands
        for command in once:
            reader.type(pool, command)
        stack.enter_context(reader.keep(pool, worker, reader.checkout / "worker.log"))
        yield each_run


@pytest.fixture
def api(ports: dict[str, str]) -> Api:
    """Ask the server's REST interface, by GET or, with a body, by POST."""

    def call(path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://{ports['127.0.0.1:4200']}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    return call


def run_command(*settings: str) -> str:
    """Return the page's command for a tiny run on the texts in the checkout."""
    corpus = ["corpus.train=train.txt", "corpus.valid=valid.txt"]
    overrides = json.dumps([*TINY, "train_lm.max_steps=2", *corpus, *settings])
    return f"prefect deployment run owt-pipeline --param 'overrides={overrides}'"


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


def mlflow_runs(reader: Reader) -> list[Any]:
    """Return the runs in the database whose page `owt ui` serves."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{reader.checkout}/data/mlflow/mlflow.db")
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def test_the_deployment_names_no_place_of_a_machine(
    api: Api, terminal: Terminal, reader: Reader
) -> None:
    """Whoever starts a worker in a checkout can run what somebody else deployed."""
    deployment = api("/deployments/name/owt-pipeline/owt-pipeline")
    assert deployment["entrypoint"] == "flows.pipeline.owt_pipeline"
    assert deployment["parameters"] == {"preset": "smoke", "overrides": []}
    assert str(reader.checkout) not in json.dumps(deployment)


def test_the_pages_first_command_builds_into_the_checkout(
    api: Api, terminal: Terminal, reader: Reader
) -> None:
    """The smoke run's artifacts and MLflow run are below `data`, where `owt ui` looks."""
    assert terminal.commands[0] == "prefect deployment run owt-pipeline --watch"
    reader.type(terminal, terminal.commands[0])
    flow_run = newest_flow_run(api)
    records = list_records(open_store(str(reader.checkout / "data" / "artifacts")))
    assert {record.stage for record in records} == set(STAGES)
    assert {record.run_ids["prefect"] for record in records} == {flow_run["id"]}
    tags = [run.data.tags.get("prefect.flow_run_id") for run in mlflow_runs(reader)]
    assert flow_run["id"] in tags


def test_a_second_run_on_relative_paths_finds_everything_cached(
    api: Api, terminal: Terminal, reader: Reader
) -> None:
    """A text beside the code is found, and what one run built the next one finds."""
    reader.type(terminal, f"{run_command()} --watch")
    first = newest_flow_run(api)
    assert "Cached" not in task_states(api, first)
    reader.type(terminal, f"{run_command()} --watch")
    second = newest_flow_run(api)
    assert second["id"] != first["id"]
    # The states of task runs reach the server as events, a moment after the run's own.
    wait_for(lambda: task_states(api, second) == ["Cached"] * NUM_STAGE_RUNS, timeout_s=60)


def test_a_cancelled_training_leaves_a_checkpoint(
    api: Api, terminal: Terminal, reader: Reader
) -> None:
    """`prefect flow-run cancel` ends the run as Cancelled, and the training can go on."""
    reader.type(terminal, run_command("train_lm.max_steps=1000000", "run.checkpoint_steps=1"))
    training = reader.checkout / "data" / "artifacts" / ".staging" / "train_lm"
    wait_for(lambda: num_steps(training) > 3, timeout_s=240)
    flow_run = newest_flow_run(api)
    reader.type(terminal, f"prefect flow-run cancel {flow_run['id']}")
    wait_for(lambda: newest_flow_run(api)["state_name"] == "Cancelled", timeout_s=120)
    newest = max(training.glob("*/*/work/checkpoints/step-*"))
    # A stop inside an update saves no half update: the checkpoint of the step before remains.
    steps_lost = num_steps(training) - int(newest.name.removeprefix("step-"))
    assert steps_lost in (0, 1)
    assert "Traceback" not in (reader.checkout / "worker.log").read_text()


def test_a_command_without_a_server_says_so_in_one_line(reader: Reader, tmp_path: Path) -> None:
    """No address, or an address at which nobody answers: no traceback, and the way out."""
    activate = f". {reader.checkout}/.venv/bin/activate"
    silent = f"http://127.0.0.1:{free_port()}/api"
    elsewhere = f"{activate}\nexport PREFECT_PLUGINS_ENABLED=true"
    for preamble, folder, problem in [
        (activate, reader.checkout, "PREFECT_API_URL is not set"),
        (elsewhere, tmp_path, "PREFECT_API_URL is not set"),
        (
            f"{elsewhere} PREFECT_API_URL={silent}",
            tmp_path,
            f"answers at PREFECT_API_URL ({silent}",
        ),
    ]:
        done = reader.attempt(preamble, "prefect deployment run owt-pipeline", folder)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert problem in done.stderr


def test_a_run_whose_machine_died_is_ended_and_starts_again(
    api: Api, terminal: Terminal, reader: Reader, ports: dict[str, str]
) -> None:
    """Worker and run are killed: it is Crashed within three heartbeats; another worker resumes."""
    settings = ("train_lm.max_steps=900000", "run.checkpoint_steps=1")
    reader.type(terminal, run_command(*settings))
    training = reader.checkout / "data" / "artifacts" / ".staging" / "train_lm"
    before = num_steps(training)
    wait_for(lambda: num_steps(training) > before + 3, timeout_s=240)
    flow_run = newest_flow_run(api)
    kill_workers(reader)
    killed_at = time.monotonic()

    def states() -> list[str]:
        found = api(f"/flow_run_states/?flow_run_id={flow_run['id']}")
        return [state["name"] for state in found]

    wait_for(lambda: "AwaitingRetry" in states(), timeout_s=120)
    assert states().count("Crashed") == 1
    # Three heartbeats of 30 s, counted from the last one, and what the server takes to notice.
    assert time.monotonic() - killed_at < 110
    worker = "prefect worker start --pool owt-cpu"
    with reader.keep(read_terminals("Once", ports)[1], worker, reader.checkout / "second.log"):
        wait_for(lambda: states()[-1] == "Running", timeout_s=120)
        steps = num_steps(training)
        wait_for(lambda: num_steps(training) > steps, timeout_s=120)
        assert states().count("Crashed") == 1


def kill_workers(reader: Reader) -> None:
    """Kill the worker of the checkout with all that it started, as a machine that is cut off."""
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if str(reader.checkout) in command and "worker start" in command:
            kill_tree(process)
