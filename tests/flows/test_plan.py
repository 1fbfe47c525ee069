"""The plan knows every fingerprint before anything runs, and says why something is not there."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from artifacts.building.staging import local_staging
from artifacts.published.difference import Difference
from artifacts.store import open_store
from flows.cli.main import app
from flows.cli.plan import cluster_remarks
from flows.config import RunConfig, resolve_config
from flows.plan import PlannedStage, explain, explain_briefly, in_selection, plan_stages
from flows.presets import find_preset
from flows.selection import select_stages
from tasks.execution.prediction import Prediction


def plan(settings: list[str], root: Path) -> dict[str, PlannedStage]:
    config = resolve_config(find_preset("smoke"), None, settings)
    rows = plan_stages(config, open_store(root / "artifacts"), root)
    return {f"{row.stage} {row.label}".strip(): row for row in rows}


def test_an_empty_store_misses_everything(settings: list[str], tmp_path: Path) -> None:
    """Planning builds nothing, and training's FLOPs and memory are known at once."""
    rows = plan(settings, tmp_path)
    assert {row.status for row in rows.values()} == {"MISS"}
    assert rows["train_lm"].prediction.flops
    assert rows["train_lm"].prediction.memory_bytes
    assert not (tmp_path / "artifacts").exists()


def test_the_plan_predicts_the_fingerprints_of_the_run(
    settings: list[str], first: dict[str, Any], shared_root: Path
) -> None:
    """After a run the same plan hits everywhere, under the run's own fingerprints."""
    rows = plan(settings, shared_root)
    assert {row.status for row in rows.values()} == {"HIT"}
    for stage in first["stages"]:
        row = rows[f"{stage['stage']} {stage['label']}".strip()]
        assert stage["fingerprint"].startswith(row.fingerprint)


@pytest.mark.usefixtures("first")
def test_a_miss_says_which_field_changed(settings: list[str], shared_root: Path) -> None:
    """The nearest artifact tells old and new value; what follows tells its changed input."""
    # A field that no other test changes: the nearest artifact is that of the first run.
    rows = plan([*settings, "train_lm.weight_decay=0.5"], shared_root)
    assert rows["encode_shards train"].status == "HIT"
    assert rows["train_lm"].reason == "train_lm.weight_decay: 0.1 -> 0.5"
    assert rows["evaluate"].reason == "input model: train_lm.weight_decay: 0.1 -> 0.5"
    assert rows["train_lm"].prediction.seconds is not None


TEXT = Difference("text", "form", "text", "folder"), Difference("text", "sha256", "a", "b")
STEPS = Difference("model", "train_lm.max_steps", 300, 400)
WIDTH = Difference("model", "model.d_model", 64, 128)


@pytest.mark.parametrize(
    ("differences", "whole", "brief"),
    [
        (None, "none was built yet", "none was built yet"),
        ([*TEXT], "another text", "another text"),
        ([*TEXT, STEPS], f"another text; {STEPS}", "another text"),
        ([WIDTH, STEPS], f"{WIDTH}, {STEPS.fact}", "d_model 64 -> 128, and 1 more"),
        ([*TEXT[:1]], str(TEXT[0]), "form text -> folder"),
    ],
)
def test_a_reason_is_for_a_person(
    differences: list[Difference] | None, whole: str, brief: str
) -> None:
    """What describes another text is one reason, and a view has room for one."""
    assert (explain(differences), explain_briefly(differences)) == (whole, brief)


def test_a_corpus_without_a_pin_is_unknown_until_it_was_fetched(
    settings: list[str], tmp_path: Path
) -> None:
    """Nothing is fetched to make a plan."""
    rows = plan([*settings, "corpus.train=http://127.0.0.1:9/train.txt"], tmp_path)
    assert {row.status for row in rows.values()} == {"UNKNOWN"}


def test_a_pinned_corpus_is_planned_without_the_network(tmp_path: Path) -> None:
    """The public originals have fingerprints before they are here."""
    config = find_preset("openwebtext")
    rows = list(plan_stages(config, open_store(tmp_path / "artifacts"), tmp_path))
    assert {row.status for row in rows} == {"MISS"}
    assert len({row.fingerprint for row in rows}) == len(rows) == 9


@pytest.mark.usefixtures("first")
def test_a_forced_stage_is_built_again_and_nothing_downstream(
    settings: list[str], shared_root: Path
) -> None:
    """A rebuild keeps the fingerprint; the best prediction is what it took before."""
    config = resolve_config(find_preset("smoke"), None, settings)
    planned = plan_stages(config, open_store(shared_root / "artifacts"), shared_root)
    rows = in_selection(planned, select_stages(force=["train_lm"]))
    assert {row.name: row.reason for row in rows if row.status == "MISS"} == {"train_lm": "forced"}
    row = next(row for row in rows if row.stage == "train_lm")
    assert row.record is not None
    assert row.prediction.seconds == row.record.seconds


@pytest.mark.usefixtures("first")
def test_what_was_predicted_is_kept_beside_what_was_measured(
    settings: list[str], shared_root: Path
) -> None:
    """FLOPs of a training need no earlier one; its record holds them."""
    row = plan(settings, shared_root)["train_lm"]
    assert row.record is not None
    assert row.record.predicted["flops"] > 0
    assert row.measured["seconds"] > 0


@pytest.mark.usefixtures("first")
def test_changed_code_is_told_and_rebuilds_nothing(
    settings: list[str], shared_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record holds the hash of the code; another one is a remark, not a miss."""
    assert not any(row.has_drifted for row in plan(settings, shared_root).values())
    python = "{}.{}".format(*sys.version_info)
    monkeypatch.setattr("flows.plan.code_of", lambda _: f"{python}:another")
    rows = plan(settings, shared_root)
    assert {row.status for row in rows.values()} == {"HIT"}
    assert all(row.has_drifted for row in rows.values())


def printed_plan(root: Path, *arguments: str) -> str:
    """Return what the command prints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OWT_ROOT", str(root))
        return CliRunner().invoke(app, ["plan", *arguments], catch_exceptions=False).stdout


@pytest.mark.usefixtures("first")
def test_the_plan_as_json_is_one_object(settings: list[str], shared_root: Path) -> None:
    """A program reads statuses, differences, predictions and the config."""
    changed = [*settings, "train_lm.weight_decay=0.5"]
    shown = printed_plan(shared_root, "--json", *(f"--set={setting}" for setting in changed))
    found = json.loads(shown)
    training = next(stage for stage in found["stages"] if stage["stage"] == "train_lm")
    assert training["status"] == "MISS"
    assert training["differences"] == [
        {"input": "", "field": "train_lm.weight_decay", "old": 0.1, "new": 0.5}
    ]
    assert training["predicted"]["seconds"] > 0
    assert found["config"]["train_lm"]["weight_decay"] == 0.5


@pytest.mark.usefixtures("first")
def test_the_plan_prints_its_table_first(settings: list[str], shared_root: Path) -> None:
    """The config comes with --verbose only, after the table."""
    shown = printed_plan(shared_root, *(f"--set={setting}" for setting in settings))
    assert shown.startswith("Store: ")
    assert "everything is cached" in shown
    assert "{" not in shown


@pytest.mark.usefixtures("first")
def test_a_narrow_terminal_shows_the_reason_whole(
    settings: list[str], shared_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns the costs that fewer people read go first, and no letter is cut off."""
    monkeypatch.setattr("flows.cli.tables._console", lambda: Console(width=80))
    shown = printed_plan(shared_root, *(f"--set={s}" for s in [*settings, "train_lm.seed=77"]))
    row = next(line for line in shown.splitlines() if line.strip().startswith("train_lm"))
    assert row.split()[1] == "MISS"
    assert "…" not in shown
    assert "memory" in shown.splitlines()[-2]


def test_the_plan_says_where_a_stopped_training_resumes(
    settings: list[str], tmp_path: Path
) -> None:
    """The newest checkpoint of all attempts; without one the plan says nothing of it."""
    choice = [f"--set={setting}" for setting in settings]
    assert "stopped training" not in printed_plan(tmp_path, *choice)
    identity = plan(settings, tmp_path)["train_lm"].identity
    assert identity is not None
    folder = local_staging(open_store(tmp_path / "artifacts"), identity)
    for attempt, step in (("00000001-a", "step-00000003"), ("00000002-b", "step-00000002")):
        (folder / attempt / "work" / "checkpoints" / step).mkdir(parents=True)
    assert "a stopped training resumes at step 3 of 4" in printed_plan(tmp_path, *choice)


def test_a_plan_for_a_cluster_says_when_one_machine_is_the_better_choice(tmp_path: Path) -> None:
    """By what the mapped stages took before; a plan for threads says nothing of it."""
    cluster = RunConfig(runner="dask", dask_address="tcp://machine:8786")

    def rows(seconds: float | None, status: str = "MISS") -> list[PlannedStage]:
        return [
            PlannedStage(
                stage=stage,
                label="",
                status=status,
                reason="",
                identity=None,
                prediction=Prediction(seconds=seconds),
                is_mapped=stage != "train_lm",
            )
            for stage in ("count_pretokens", "train_lm", "encode_shards")
        ]

    (remark,) = cluster_remarks(rows(16.0), cluster)
    assert "count_pretokens and encode_shards take about 32 s without more machines" in remark
    assert "run.runner=threads on one machine is the better choice" in remark
    (remark,) = cluster_remarks(rows(None), cluster)
    assert "a cluster only costs" in remark
    assert cluster_remarks(rows(1000.0), cluster) == []
    assert cluster_remarks(rows(16.0, status="HIT"), cluster) == []
    assert cluster_remarks(rows(16.0), RunConfig()) == []
    asked = ("--set", "run.runner=dask", "--set", "run.dask_workers=2")
    assert "a cluster only costs" in " ".join(printed_plan(tmp_path, *asked).split())
