"""All of MLflow: one run a flow run, nested runs for the stages that have metrics.

A failure of MLflow never stops the work, and every fact that MLflow shows is also in an artifact.
When the server does not answer, one warning is logged; the lines of `metrics.jsonl` are sent once
it answers again.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from tasks.tracking.database import make_database
from tasks.watching.events import Measured, Observer, observer_of_run

logger = logging.getLogger(__name__)

FORWARD_INTERVAL_S = 2.0
"""Seconds between two looks at the metrics files: live enough for a person at the page."""
BATCH_SIZE = 1000
"""Metrics in one request: MLflow's own limit for `log_batch`."""
PARAM_BATCH_SIZE = 100
"""Parameters in one request: MLflow's own limit."""
NOT_CURVES = frozenset({"step", "valid/num_tokens"})
"""Numbers of a metrics line that would draw a flat or a straight line."""
TRAINING_VIEW = "workflowType=machine_learning"
"""Makes MLflow 3 show a page in its view for model training, not in the one for traces."""
PARENT_TAG = "mlflow.parentRunId"
"""Tag by which MLflow's page shows a run below another one."""
SHARED_VIEW = "owt"
COLUMNS = (
    "metrics.`valid/loss`",
    "metrics.`system/tokens_per_second`",
    "params.`train_lm.max_learning_rate`",
    "params.`train_lm.max_steps`",
    "params.`model.d_model`",
)
"""What the list of runs shows of each, in the words of MLflow's page."""
EXPERIMENT_TAGS = {
    # MLflow 3's page opens on model training instead of its traces view.
    "mlflow.experimentKind": "custom_model_development",
    # An address that names it shows the list with these columns; MLflow's "share" writes such tags.
    f"mlflow.sharedViewState.{SHARED_VIEW}": json.dumps({"selectedColumns": COLUMNS}),
}


@dataclass(frozen=True, kw_only=True)
class TrackingTarget:
    """Where runs are tracked, and under which run; plain data that travels between tasks."""

    uri: str
    """Tracking URI of MLflow: a server or `sqlite:///…`."""
    experiment: str
    """Name of the experiment."""
    artifact_location: str = ""
    """Where a new experiment keeps its files; "": the server decides."""
    parent_run_id: str = ""
    """The flow run's MLflow run; "" while there is none, or when MLflow could not be reached."""
    parent_name: str = ""
    """What that run is: the charts of a page tell curves apart by the names of runs alone."""


class TrackedRun:
    """One MLflow run that swallows MLflow's failures: the first one is logged, none is raised."""

    def __init__(self, target: TrackingTarget, run_id: str, experiment_id: str = "") -> None:
        self.target = target
        self.run_id = run_id
        self.experiment_id = experiment_id
        self._warned = False

    @cached_property
    def _client(self) -> Any:  # MLflow's client has types only in part
        from mlflow.tracking import MlflowClient

        return MlflowClient(tracking_uri=self.target.uri)

    def attempt(self, call: Callable[[Any], Any]) -> bool:
        """Make one call of the client; `False` when MLflow failed or there is no run."""
        if not self.run_id:
            return False
        try:
            call(self._client)
        except Exception as error:  # whatever MLflow or its transport raises, the work continues
            if not self._warned:
                logger.warning(
                    "MLflow at %s failed; the run continues without it: %s", self.target.uri, error
                )
                self._warned = True
            return False
        return True

    def _log_batch(self, **batch: Sequence[object]) -> bool:
        return self.attempt(lambda client: client.log_batch(self.run_id, **batch))

    def log_params(self, params: Mapping[str, object]) -> None:
        """Log parameters; nested mappings become dotted names."""
        from mlflow.entities import Param

        flat = [Param(name, str(value)[:6000]) for name, value in flatten(params).items()]
        for start in range(0, len(flat), PARAM_BATCH_SIZE):
            self._log_batch(params=flat[start : start + PARAM_BATCH_SIZE])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log numbers at one step."""
        self.log_metric_rows([{"step": step, **metrics}])

    def log_metric_rows(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Log rows of `step` and numbers in few requests; say whether all arrived."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        metrics = [
            Metric(_name_in_mlflow(name), float(value), now_ms, int(row["step"]))
            for row in rows
            for name, value in row.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
            if name not in NOT_CURVES
        ]
        batches = [
            metrics[start : start + BATCH_SIZE] for start in range(0, len(metrics), BATCH_SIZE)
        ]
        return all(self._log_batch(metrics=batch) for batch in batches)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        self._log_batch(tags=[RunTag(name, value[:5000]) for name, value in tags.items()])

    def log_text(self, text: str, name: str) -> None:
        """Keep a text as a file of the run."""
        self.attempt(lambda client: client.log_text(self.run_id, text, name))

    def log_dataset(self, name: str, *, digest: str, source: str, context: str) -> None:
        """Name a dataset artifact as an input of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(
            name=name,
            digest=digest[:36],  # the longest that MLflow's database column takes
            source_type="uri",
            source=json.dumps({"uri": source}),
        )
        tagged = DatasetInput(dataset, [InputTag("mlflow.data.context", context)])
        self.attempt(lambda client: client.log_inputs(self.run_id, datasets=[tagged]))

    def rename(self, name: str) -> None:
        """Give the run another name."""
        self.attempt(lambda client: client.update_run(self.run_id, name=name))

    def log_json(self, value: object, name: str) -> None:
        """Keep plain data as a file of the run."""
        self.log_text(json.dumps(value, indent=1, ensure_ascii=False), name)

    def finish(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED."""
        self.attempt(lambda client: client.set_terminated(self.run_id, status))


def start_pipeline_run(
    target: TrackingTarget, *, name: str, params: Mapping[str, object], tags: Mapping[str, str]
) -> TrackedRun:
    """Open the MLflow run of a flow run; without MLflow, a run that does nothing."""
    run = _create_run(target, name=name, tags=tags)
    run.log_params(params)
    return run


def page_address(run: TrackedRun, local_server: str) -> str:
    """Return the address of a run's page; `local_server` shows what lies in a local database."""
    server = run.target.uri if run.target.uri.startswith("http") else local_server
    page = f"{server.rstrip('/')}/#/experiments/{run.experiment_id}/runs/{run.run_id}"
    return f"{page}?{TRAINING_VIEW}"


@contextmanager
def stage_run(
    target: TrackingTarget, stage: str, *, params: Mapping[str, object], tags: Mapping[str, str]
) -> Iterator[TrackedRun]:
    """Open a nested run for the work of one stage, and end it with the work's outcome."""
    run = TrackedRun(target, "")
    if target.parent_run_id:
        parent = {PARENT_TAG: target.parent_run_id}
        name = f"{stage} {target.parent_name}".strip()
        run = _create_run(target, name=name, tags={**tags, **parent})
        run.log_params(params)
    try:
        yield run
    except BaseException as error:
        run.finish("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    run.finish("FINISHED")


@contextmanager
def forward_metrics(run: TrackedRun, files: Sequence[Path]) -> Iterator[None]:
    """Tail JSON-lines files of metrics while the body works, whoever writes them.

    The run in MLflow gets them, and the observer of this run.
    """
    done = threading.Event()
    offsets, told = dict.fromkeys(files, 0), dict.fromkeys(files, 0)
    observer = observer_of_run()  # here, because the thread does not have the run's context

    def look() -> None:
        _forward_new_lines(run.log_metric_rows, offsets)
        if observer is not None:
            _forward_new_lines(partial(_tell, observer), told)

    def forward() -> None:
        while not done.wait(FORWARD_INTERVAL_S):
            look()

    thread = threading.Thread(target=forward, name="forward-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        look()


def _name_in_mlflow(name: str) -> str:
    """Return a metric's name there: the page sorts the groups of charts by name.

    So the loss comes first, and figures of the machine are on the page's tab for these.

    >>> _name_in_mlflow("perf/mfu"), _name_in_mlflow("spike/loss")
    ('system/mfu', 'train/spike_loss')
    """
    return name.replace("perf/", "system/", 1).replace("spike/", "train/spike_", 1)


def flatten(params: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Turn nested mappings into dotted names.

    >>> flatten({"model": {"d_model": 4}, "seed": 1})
    {'model.d_model': 4, 'seed': 1}
    """
    flat: dict[str, object] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def prepare_experiment(target: TrackingTarget, spares: Path) -> None:
    """Make the experiment, and with the first one a local database; raises what MLflow raises."""
    from mlflow.tracking import MlflowClient

    make_database(target.uri, target.artifact_location, spares)
    _experiment_id(MlflowClient(tracking_uri=target.uri), target)


def _create_run(target: TrackingTarget, *, name: str, tags: Mapping[str, str]) -> TrackedRun:
    try:
        from mlflow.tracking import MlflowClient

        make_database(target.uri, target.artifact_location)
        client = MlflowClient(tracking_uri=target.uri)
        experiment_id = _experiment_id(client, target)
        run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    except Exception as error:  # whatever MLflow or its transport raises, the work continues
        logger.warning(
            "MLflow at %s is not reachable; the run continues without it: %s", target.uri, error
        )
        return TrackedRun(target, "")
    return TrackedRun(target, run.info.run_id, experiment_id)


def _experiment_id(client: Any, target: TrackingTarget) -> str:
    """Return the experiment's id; creates it, unless another run does so at the same moment."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(target.experiment)
    if experiment is None:
        with suppress(MlflowException):
            place = target.artifact_location or None
            client.create_experiment(target.experiment, place)
        experiment = client.get_experiment_by_name(target.experiment)
    for name, value in EXPERIMENT_TAGS.items():
        if experiment.tags.get(name) != value:
            client.set_experiment_tag(experiment.experiment_id, name, value)
    return str(experiment.experiment_id)


def _tell(observer: Observer, rows: Sequence[Mapping[str, Any]]) -> bool:
    for row in rows:
        observer(Measured(step=row["step"], metrics=row))
    return True


def _forward_new_lines(
    send: Callable[[Sequence[Mapping[str, Any]]], bool], offsets: dict[Path, int]
) -> None:
    """Send each file's complete new lines; a file whose rows did not arrive is sent again."""
    for path, offset in offsets.items():
        try:
            text, start = _new_text(path, offset)
        except OSError as error:  # the work continues without its curves
            logger.warning("%s cannot be read and is not forwarded: %s", path, error)
            continue
        complete = text[: text.rfind(b"\n") + 1]
        if complete and send(_rows(complete)):
            offsets[path] = start + len(complete)


def _new_text(path: Path, offset: int) -> tuple[bytes, int]:
    """Return what follows an offset, and where it begins: at a line's beginning.

    A resumed run may have rewritten the file. Where it is shorter now, there is nothing new until
    it has grown beyond the offset; where the lines differ, the first one is that after the offset.
    """
    if not path.exists():
        return b"", offset
    with path.open("rb") as file:
        file.seek(max(0, offset - 1))
        text = file.read()
    if offset == 0:
        return text, 0
    skipped = text.find(b"\n") + 1
    return text[skipped:], offset - 1 + skipped


def _rows(text: bytes) -> list[dict[str, Any]]:
    """Return the lines that are rows of metrics; a damaged one is left out."""
    rows = []
    for line in text.splitlines():
        with suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and type(row.get("step")) is int:
                rows.append(row)
    return rows
