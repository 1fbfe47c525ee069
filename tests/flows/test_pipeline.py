"""The whole flow on a tiny corpus: what is built, what is cached, what is rebuilt and why."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from artifacts.building.handover import take_over
from artifacts.identity import Reference
from artifacts.lease.waiting import wait_for_lease
from artifacts.published.checking import verify
from artifacts.published.lineage import format_lineage, lineage
from artifacts.store import open_store, resolve
from flows.config import resolve_config
from flows.plan import plan_stages
from flows.presets import find_preset
from tasks.context import RunContext
from tasks.count_pretokens import count_range, count_ranges
from tasks.tracking.runs import TrackingTarget
from tests.tiny_pipeline import Run, built, shown

ALL_STAGES = [
    "download train",
    "download valid",
    "count_pretokens",
    "train_tokenizer",
    "encode_shards train",
    "encode_shards valid",
    "train_lm",
    "evaluate",
    "generate",
]


def test_a_second_run_executes_no_stage(
    rerun: Run, settings: list[str], first: dict[str, Any]
) -> None:
    """Everything is built once, then cached, with the same artifacts and the same summary."""
    second = rerun(settings)
    assert built(first) == ALL_STAGES
    assert built(second) == []
    assert [s["uri"] for s in second["stages"]] == [s["uri"] for s in first["stages"]]
    assert shown(second, "generate") == shown(first, "generate")
    assert shown(second, "evaluate") == shown(first, "evaluate")


def test_the_summary_says_how_much_of_the_samples_is_new(first: dict[str, Any]) -> None:
    """Shares of different n-grams, which grow with n, and of those in the training text."""
    shares = shown(first, "generate")["statistics"]
    assert 0 < shares["distinct_1"] <= shares["distinct_2"] <= shares["distinct_3"] <= 1
    assert 0 <= shares["seen_share"] <= 1
    assert 0 <= shares["repeated_share"] <= shares["recent_share"] <= 1


@pytest.mark.parametrize(
    ("setting", "rebuilt"),
    [
        ("train_lm.max_steps=5", ["train_lm", "evaluate", "generate"]),
        ("generate.seed=1", ["generate"]),
        ("tokenizer.vocab_size=301", ALL_STAGES[3:]),
        ("run.workers=1", []),
        ("run.micro_batch_size=2", []),
    ],
)
def test_a_changed_setting_rebuilds_what_depends_on_it_and_no_more(
    rerun: Run, settings: list[str], setting: str, rebuilt: list[str]
) -> None:
    """The fingerprints carry exactly what a stage's output depends on.

    A second training is held against the seconds that the first one predicts for it.
    """
    summary = rerun([*settings, setting])
    assert built(summary) == rebuilt
    predicted_s = shown(summary, "train_lm")["statistics"]["predicted_seconds"]
    assert (predicted_s is not None) == ("train_lm" in rebuilt)


def test_a_flipped_byte_rebuilds_that_stage_and_no_other(
    rerun: Run, settings: list[str], first: dict[str, Any], shared_root: Path
) -> None:
    """Damage is found by `verify` and by the next run, and mended without touching the rest."""
    shards = next(s for s in first["stages"] if s["label"] == "valid" and "encode" in s["stage"])
    path = next(Path(shards["uri"]).glob("*/shard-00000.npy"))
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    store = open_store(shared_root / "artifacts")
    assert verify(store, Reference.from_json(shards))
    assert built(rerun(settings)) == ["encode_shards valid"]
    assert not verify(store, Reference.from_json(shards))


def test_lineage_names_every_artifact_up_to_the_corpus(
    first: dict[str, Any], shared_root: Path
) -> None:
    """The model's lineage is told from records alone."""
    store = open_store(shared_root / "artifacts")
    model = next(s["fingerprint"] for s in first["stages"] if s["stage"] == "train_lm")
    text = format_lineage(lineage(store, resolve(store, model)))
    ancestors = [s for s in first["stages"] if s["stage"] not in ("evaluate", "generate")]
    for stage in ancestors:
        assert Reference.from_json(stage).place in text


def test_only_demands_what_it_builds_on(run: Run, settings: list[str]) -> None:
    """A single stage does not build its inputs, and says how to."""
    with pytest.raises(ValueError, match=r"no artifact download/.*asked not to build download"):
        run(settings, only="train_tokenizer")
    assert built(run(settings, only="download")) == ["download train", "download valid"]


def test_force_builds_one_stage_again(
    rerun: Run, settings: list[str], first: dict[str, Any], shared_root: Path
) -> None:
    """A forced stage gives the same bytes, so what follows stays cached."""
    model = next(s["fingerprint"] for s in first["stages"] if s["stage"] == "train_lm")
    store = open_store(shared_root / "artifacts")
    before = resolve(store, model)
    assert built(rerun(settings, force=["train_lm"])) == ["train_lm"]
    after = resolve(store, model)
    assert after.started_at > before.started_at
    deterministic = [file for file in after.files if file.name not in after.volatile]
    assert deterministic == [file for file in before.files if file.name not in before.volatile]


def test_the_same_flow_runs_on_another_file_system(
    rerun: Run, settings: list[str], first: dict[str, Any]
) -> None:
    """The store is any fsspec URL; the fingerprints do not know which."""
    elsewhere = [*settings, "run.store=memory://pipeline-test"]
    remote = rerun(elsewhere)
    assert built(remote) == ALL_STAGES
    assert built(rerun(elsewhere)) == []
    assert [s["fingerprint"] for s in remote["stages"]] == [
        s["fingerprint"] for s in first["stages"]
    ]


def test_a_restart_keeps_the_ranges_that_were_finished(
    run: Run, settings: list[str], data_root: Path
) -> None:
    """A count that died after its first range resumes with the second."""
    run(settings, only="download")
    store = open_store(data_root / "artifacts")
    config = resolve_config(find_preset("smoke"), None, settings)
    rows = {row.stage: row for row in plan_stages(config, store, data_root)}
    identity = rows["count_pretokens"].identity
    assert identity is not None
    context = RunContext(
        store_url=store.url,
        root=str(data_root),
        workers=1,
        tracking=TrackingTarget(uri="", experiment=""),
    )
    start, stop = count_ranges(store, identity, config.tokenizer)[0]
    with wait_for_lease(store, identity, owner="a run that dies") as lease:
        take_over(lease)
        count_range.fn(
            context,
            identity,
            config.tokenizer,
            attempt=lease.attempt,
            number=0,
            start=start,
            stop=stop,
        )
    run(settings, only="count_pretokens")
    record = resolve(store, "count_pretokens")
    with get_client(sync_client=True) as client:
        by_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(record.run_ids["prefect"])]))
        names = [task.name for task in client.read_task_runs(flow_run_filter=by_run)]
    ranges = sorted(name for name in names if name.startswith("count_pretokens "))
    assert len(ranges) == record.statistics["num_ranges"] - 1
    assert f"count_pretokens {start}-{stop}" not in ranges


def test_documents_of_the_validation_split_are_looked_for_in_training(
    run: Run, settings: list[str], corpus: dict[str, Path], data_root: Path
) -> None:
    """The record says how many validation documents the model has seen."""
    settings = [*settings, f"corpus.valid={corpus['train']}"]
    run(settings, only="download")
    record = resolve(open_store(data_root / "artifacts"), "download")
    assert record.statistics["num_train_duplicates"] == record.statistics["num_documents"] == 200


def test_a_plain_local_file_is_referenced_not_copied(
    run: Run, settings: list[str], corpus: dict[str, Path], data_root: Path
) -> None:
    """The corpus artifact of a local text holds its hash and its address only."""
    summary = run(settings, only="download")
    record = resolve(open_store(data_root / "artifacts"), summary["stages"][0]["fingerprint"])
    assert [entry.uri for entry in record.external_files] == [str(corpus["train"])]
    assert [entry.name for entry in record.files] == ["document_hashes.npy"]


def test_metrics_are_whole_when_mlflow_is_away(
    run: Run, settings: list[str], caplog: pytest.LogCaptureFixture, data_root: Path
) -> None:
    """An unreachable tracking server costs a warning, no result and no run."""
    summary = run(settings, tracking_uri="http://127.0.0.1:9")
    assert built(summary) == ALL_STAGES
    assert "is not reachable; the run continues without it" in caplog.text
    path = next((data_root / "artifacts" / "train_lm").glob("*/*/metrics.jsonl"))
    steps = [row["step"] for row in map(json.loads, path.read_text().splitlines())]
    assert steps[-1] == 4


def test_mlflow_has_the_run_the_nested_runs_and_their_curves(
    first: dict[str, Any], shared_root: Path
) -> None:
    """The parent run has parameters and results, the nested training run every logged step."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{shared_root}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("owt-pipeline")
    assert experiment is not None
    of_parent = f"tags.`mlflow.parentRunId` = '{first['mlflow_run_id']}'"
    runs = client.search_runs([experiment.experiment_id], of_parent)
    parent = client.get_run(first["mlflow_run_id"])
    assert parent.data.params["model.d_model"] == "16"
    assert parent.data.metrics["valid/loss"] == pytest.approx(
        shown(first, "evaluate")["statistics"]["loss"]
    )
    loss = parent.data.metrics["valid/loss"]
    assert parent.info.run_name.startswith(f"smoke {loss:.3f} train=train.txt valid=valid.txt")
    assert parent.data.metrics["system/tokens_per_second"] > 0
    nested = {run.info.run_name.partition(" ")[0]: run for run in runs}
    assert {"train_lm", "evaluate", "generate"} <= set(nested)
    train = nested["train_lm"]
    assert train.info.run_name.startswith("train_lm smoke train=train.txt valid=valid.txt")
    assert {name.partition("/")[0] for name in train.data.metrics} >= {"train", "valid", "system"}
    assert not any(name.startswith("perf/") for name in train.data.metrics)
    curve = client.get_metric_history(train.info.run_id, "train/loss")
    assert [point.step for point in sorted(curve, key=lambda point: point.step)] == [1, 2, 3, 4]


def test_a_corpus_may_have_any_name(
    run: Run, settings: list[str], corpus: dict[str, Path], tmp_path: Path
) -> None:
    """Blanks, umlauts, percent and number signs: a path is no address."""
    folder = tmp_path / "my data #1 100%20 ü?"
    folder.mkdir()
    for path in corpus.values():
        (folder / path.name).write_bytes(path.read_bytes())
    odd = [f"corpus.{split}={folder / path.name}" for split, path in corpus.items()]
    assert built(run([*settings, *odd])) == ALL_STAGES
    assert built(run([*settings, *odd])) == []
