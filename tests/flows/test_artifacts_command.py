"""`owt artifacts` lists, traces, verifies and removes what is in a store."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from artifacts.building.publishing import publish
from artifacts.building.staging import add_part, open_staging
from artifacts.identity import Identity
from artifacts.published.checking import check
from artifacts.record import BuildFacts, Record
from artifacts.store import list_records, open_store, reference_of
from flows.cli.artifacts import app
from flows.cli.generate import describe_choice
from flows.naming import name_artifact
from flows.presets import find_preset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A local store with one artifact."""
    root = tmp_path / "store"
    identity = Identity(stage="download", version=1, config={}, inputs={})
    staging = open_staging(open_store(root), identity)
    (tmp_path / "a").write_bytes(b"a")
    add_part(staging, tmp_path / "a", "a")
    publish(staging, identity, BuildFacts())
    return root


def verify(root: Path) -> tuple[int, str]:
    """Run the command and return its exit code and what it printed on one line."""
    done = CliRunner().invoke(app, ["verify", "--store", str(root)])
    return done.exit_code, done.output.replace("\n", "")


def test_verify_counts_a_damaged_record(root: Path) -> None:
    """A record that cannot be read is damage, though no artifact is known by it."""
    store = open_store(root)
    (record,) = list_records(store)
    assert verify(root) == (0, f"{record.place}: sound")
    (root / record.place / "record.json").write_text("{")
    code, output = verify(root)
    assert code == 1
    assert "1 of 1 damaged" in output


def test_what_verify_promises_happens(root: Path) -> None:
    """After a flipped byte behind an old date, the artifact is no longer a hit."""
    store = open_store(root)
    (record,) = list_records(store)
    path = root / record.place / record.folder / "a"
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert verify(root)[0] == 1
    assert check(store, record).status == "stale"


def printed(root: Path, *arguments: str) -> str:
    """Run a command and return what it printed."""
    done = CliRunner().invoke(app, [*arguments, "--store", str(root)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def add_model(root: Path, tmp_path: Path, steps: int) -> str:
    """Publish a model made from the one text of the store; return its place."""
    store = open_store(root)
    text = reference_of(store, list_records(store, "download")[0])
    identity = Identity(stage="train_lm", version=1, config={"steps": steps}, inputs={"text": text})
    staging = open_staging(store, identity)
    (tmp_path / "weights").write_bytes(b"weights")
    add_part(staging, tmp_path / "weights", "weights")
    return publish(staging, identity, BuildFacts(seconds=2.0)).place


def test_why_names_what_differs_from_the_nearest(root: Path, tmp_path: Path) -> None:
    """The only artifact of a stage has nothing to be compared with."""
    first = add_model(root, tmp_path, steps=1)
    assert "no other artifact to compare with" in printed(root, "why", first)
    second = add_model(root, tmp_path, steps=2)
    shown = printed(root, "why", second)
    assert f"nearest: {first}" in shown
    assert "steps: 1 -> 2" in shown


def test_who_uses_lists_what_was_made_from_it(root: Path, tmp_path: Path) -> None:
    """A model is made from its text, and nothing is made from the model."""
    model = add_model(root, tmp_path, steps=1)
    assert printed(root, "who-uses", "download").split()[1:] == [model]
    assert printed(root, "who-uses", model).split() == [model]


def test_models_of_one_preset_are_told_apart(root: Path, tmp_path: Path) -> None:
    """By what differs from the preset, and by the loss: of the evaluation, where there is one."""
    evaluated, sampled = (add_trained(root, tmp_path, steps=steps) for steps in (300, 60))
    losses = {evaluated.fingerprint: 3.5}
    assert name_artifact(evaluated, losses) == "smoke stdlib loss 3.500"
    assert name_artifact(sampled, losses) == "smoke stdlib loss 4.250 max_steps=60"
    assert "smoke stdlib loss 4.250 max_steps=60" in printed(root, "ls", "train_lm")


def test_a_narrow_list_cuts_nothing_off(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns the setting that tells two models apart is there, on a line of its own."""
    monkeypatch.setattr("flows.cli.tables._console", lambda: Console(width=80))
    add_trained(root, tmp_path, steps=60)
    shown = printed(root, "ls", "train_lm")
    assert "max_steps=60" in shown
    assert "…" not in shown


def test_a_stage_that_is_misspelt_is_no_empty_list(root: Path) -> None:
    """And a stage without artifacts says so."""
    done = CliRunner().invoke(app, ["ls", "trainlm", "--store", str(root)])
    assert str(done.exception) == "unknown stage 'trainlm'; did you mean train_lm?"
    assert "no artifact in" in printed(root, "ls", "train_lm")


def test_generate_says_which_model_it_takes(root: Path, tmp_path: Path) -> None:
    """And where others fit, too, how many there are and how to name one."""
    store = open_store(root)
    models = [add_trained(root, tmp_path, steps=steps) for steps in (300, 60)]
    assert describe_choice(store, models[1:]) == (
        f"model {models[1].place}: smoke stdlib loss 4.250 max_steps=60"
    )
    several = describe_choice(store, models).splitlines()
    assert several[0] == f"model {models[0].place}: smoke stdlib loss 4.250"
    assert several[1].startswith("the newest of 2; --model FINGERPRINT takes another one")


def add_trained(root: Path, tmp_path: Path, steps: int) -> Record:
    """Publish what a training of the preset smoke leaves, with a sampled loss."""
    settings = {"train_lm": {**asdict(find_preset("smoke").train_lm), "max_steps": steps}}
    identity = Identity(stage="train_lm", version=1, config=settings, inputs={})
    staging = open_staging(open_store(root), identity)
    (tmp_path / "weights").write_bytes(b"weights")
    add_part(staging, tmp_path / "weights", "weights")
    labels = {"preset": "smoke", "corpus": "stdlib"}
    return publish(staging, identity, BuildFacts(labels=labels, statistics={"valid_loss": 4.25}))


def test_gc_says_what_would_go_and_then_removes_it(root: Path) -> None:
    """A pinned artifact stays; the dry run removes nothing."""
    old = {"started_at": "2020-01-01T00:00:00+00:00"}
    (record,) = list_records(open_store(root))
    path = root / record.place / "record.json"
    path.chmod(0o644)
    path.write_text(json.dumps({**record.to_json(), **old}))
    assert printed(root, "pin", "download").startswith("pinned download/")
    assert printed(root, "gc", "--dry-run") == "0 would go, 0 B\n"
    assert "no longer pinned" in printed(root, "unpin", "download")
    assert "1 would go" in printed(root, "gc", "--dry-run")
    assert "download" in printed(root, "du")
    assert "1 removed" in printed(root, "gc")
    assert list_records(open_store(root)) == []
