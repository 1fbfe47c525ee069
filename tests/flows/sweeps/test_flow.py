"""A whole sweep on a tiny corpus: each trial once, failures and divergences as results."""

import json
from pathlib import Path
from typing import Any

import pytest

from artifacts.store import list_records, open_store, resolve
from flows.config import resolve_config
from flows.presets import find_preset
from flows.sweeps.design import Wishes
from flows.sweeps.designs import find_design
from flows.sweeps.outlook import look_ahead, open_trials
from tasks.experiments.sweep_results import SWEEP_FORMAT

RATES = {"train_lm.max_learning_rate": [1e-3, 1e-2]}


def sweep_in(root: Path, settings: list[str], **options: Any) -> dict[str, Any]:
    """Run a sweep with the smoke preset and the given settings."""
    from flows.sweeps.flow import owt_sweep

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OWT_ROOT", str(root))
        patch.setenv("MLFLOW_TRACKING_URI", "")
        summary: dict[str, Any] = owt_sweep(overrides=settings, **options)
        return summary


@pytest.fixture(scope="module")
def rates(first: dict[str, Any], shared_root: Path, settings: list[str]) -> dict[str, Any]:
    """A sweep of two rates, one of them the smoke preset's, whose model is there already."""
    return sweep_in(shared_root, settings, kind="learning-rate", grid=RATES)


def models(root: Path) -> set[str]:
    """Return the places of all models, with the moments at which they were made."""
    store = open_store(root / "artifacts")
    return {f"{r.place} {r.started_at}" for r in list_records(store, "train_lm")}


def test_a_sweep_publishes_its_trials_and_their_curves(
    rates: dict[str, Any], shared_root: Path
) -> None:
    """The artifact is made from the trials' artifacts, and holds what the summary says."""
    store = open_store(shared_root / "artifacts")
    record = resolve(store, rates["artifact"]["fingerprint"])
    path = next(Path(rates["artifact"]["uri"]).glob("*/sweep.json"))
    result = json.loads(path.read_text())
    assert result["format"] == SWEEP_FORMAT
    assert [trial["label"] for trial in result["trials"]] == ["rate 0.001", "rate 0.01"]
    assert [trial["status"] for trial in result["trials"]] == ["finished", "finished"]
    inputs = {item.place for item in record.inputs.values()}
    assert inputs == {trial[key] for trial in result["trials"] for key in ("model", "evaluation")}
    assert [point["step"] for point in result["trials"][0]["curve"]] == [1, 2, 3, 4]
    assert result["axis"] == "train_lm.max_learning_rate"
    assert result["held_equal"] == "4 steps of 4 x 16 tokens"


def test_trials_that_are_there_are_not_trained_again(
    rates: dict[str, Any], first: dict[str, Any], shared_root: Path, settings: list[str]
) -> None:
    """Neither by the same sweep, nor by another one that shares them, nor those of a run."""
    ran = next(s for s in first["stages"] if s["stage"] == "train_lm")
    assert rates["trials"][1]["model"] == f"train_lm/{ran['fingerprint'][:16]}"
    before = models(shared_root)
    again = sweep_in(shared_root, settings, kind="learning-rate", grid=RATES)
    assert again["artifact"] == rates["artifact"]
    wider = {"train_lm.max_learning_rate": [1e-3, 1e-2, 3e-2]}
    sweep_in(shared_root, settings, kind="learning-rate", grid=wider)
    assert before < models(shared_root)
    assert len(models(shared_root)) == len(before) + 1


def test_a_failed_trial_stops_no_other(
    first: dict[str, Any], shared_root: Path, settings: list[str]
) -> None:
    """A context longer than the text cannot be trained; its error is one line."""
    grid = {"model.context_length": [200_000, 8]}
    summary = sweep_in(shared_root, settings, kind="grid", grid=grid)
    failed, finished = summary["trials"]
    assert (failed["status"], finished["status"]) == ("failed", "finished")
    assert "tokens" in failed["failure"]
    assert "\n" not in failed["failure"]


def test_a_rate_without_a_finite_loss_is_a_result(
    first: dict[str, Any], shared_root: Path, settings: list[str]
) -> None:
    """The model is published and evaluated; the trial says at which step and rate it was lost."""
    odd = [*settings, "model.norm=none", "train_lm.max_steps=30", "train_lm.max_spikes=2"]
    grid = {"train_lm.max_learning_rate": [1e-3, 1e30]}
    summary = sweep_in(shared_root, odd, kind="learning-rate", grid=grid)
    trial = summary["trials"][1]
    assert (trial["status"], trial["valid_loss"]) == ("diverged", None)
    assert 0 < trial["diverged_at_step"] <= 30
    assert trial["diverged_at_rate"] > 1e28
    assert "the first divergent one is 1e+30" in " ".join(summary["notes"])


def test_mlflow_shows_a_run_a_trial_under_the_sweep(
    rates: dict[str, Any], shared_root: Path
) -> None:
    """With tokens and seconds as metrics, which charts take as axes, and ends that say which."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{shared_root}/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("owt-pipeline")
    assert experiment is not None
    place = rates["artifact"]["uri"]
    parent = client.search_runs([experiment.experiment_id], f"tags.`artifact.sweep` = '{place}'")
    of_parent = f"tags.`mlflow.parentRunId` = '{parent[-1].info.run_id}'"
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id], of_parent)}
    # A sweep that trained nothing is a child of the one it repeats, too.
    assert {name for name in runs if name.startswith("rate")} == {"rate 0.001", "rate 0.01"}
    metrics = runs["rate 0.001"].data.metrics
    assert metrics["axis/tokens"] == 256
    assert metrics["end/valid_loss_full_set"] == rates["trials"][0]["valid_loss"]
    assert metrics["end/valid_loss_lowest_sample"] == rates["trials"][0]["best_valid_loss"]


def test_a_budget_that_is_spent_leaves_trials_out(
    first: dict[str, Any], shared_root: Path, settings: list[str]
) -> None:
    """What is there is still used; the result says how many are missing."""
    before = models(shared_root)
    summary = sweep_in(shared_root, settings, kind="seeds", seeds=3, budget_minutes=1e-9)
    assert len(summary["trials"]) == 1
    assert summary["num_left_out"] == 2
    assert models(shared_root) == before


def test_the_outlook_counts_what_is_missing_and_knows_the_noise(
    first: dict[str, Any], shared_root: Path, settings: list[str]
) -> None:
    """Once the noise floor of a configuration is measured, the power of its comparisons is told."""
    base = resolve_config(find_preset("smoke"), None, settings)
    design = find_design("ablations", base, Wishes(arms=["NoPE"]))
    trials = open_trials(str(shared_root / "artifacts"), shared_root, "")
    before = look_ahead(design, base, trials)
    assert before.power == ""
    assert before.minutes is not None
    summary = sweep_in(shared_root, settings, kind="seeds", seeds=2)
    assert summary["noise_floor"]["num_seeds"] == 2
    after = look_ahead(design, base, trials)
    assert after.power.startswith("3 seeds a side show a difference of")
    statuses = {trial.label: trial.status for trial in after.trials}
    assert statuses["baseline, rate 0.01, seed 0"] == "HIT"
    assert statuses["NoPE, rate 0.01, seed 0"] == "MISS"


def test_kept_trials_stand_for_artifacts(
    rates: dict[str, Any], run: Any, settings: list[str], shared_root: Path, data_root: Path
) -> None:
    """A machine without the models repeats the sweep from the folder, and trains nothing."""
    kept = str(data_root.parent / "kept")
    sweep_in(shared_root, settings, kind="learning-rate", grid=RATES, kept=kept)
    elsewhere = sweep_in(data_root, settings, kind="learning-rate", grid=RATES, kept=kept)
    assert elsewhere["trials"] == rates["trials"]
    assert elsewhere["artifact"]["fingerprint"] == rates["artifact"]["fingerprint"]
    assert models(data_root) == set()


def test_trials_side_by_side_need_processes(prefect_server: None, tmp_path: Path) -> None:
    """A deployed sweep trains one after the other: threads would share torch's settings."""
    with pytest.raises(ValueError, match=r"parallel \(2\) must be 1 here.*--parallel 2"):
        sweep_in(tmp_path, [], kind="seeds", parallel=2)
