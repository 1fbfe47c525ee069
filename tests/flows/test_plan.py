"""The plan knows every fingerprint before anything runs, and says why something is not there."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.store import open_store
from flows.config import resolve_config
from flows.plan import PlannedStage, plan_stages
from flows.presets import find_preset


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
    assert rows["evaluate"].reason == "input model changed"
    assert rows["train_lm"].prediction.seconds is not None


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
