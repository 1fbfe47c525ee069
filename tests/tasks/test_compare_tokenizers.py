"""The stage that compares tokenizers: built once, then cached, from what a run left."""

import json
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from typer.testing import CliRunner

from artifacts.identity import Reference
from artifacts.published.reading import local_file
from artifacts.store import Store, open_store, record_of, resolve
from flows.cli.tokenizer import app
from tasks.compare_tokenizers import (
    COMPARE_TOKENIZERS,
    COMPARISON,
    THROUGHPUT,
    comparison_inputs,
)
from tasks.context import RunContext
from tasks.experiments.tokenizer_measures import ComparisonConfig
from tasks.tracking.runs import TrackingTarget


@pytest.fixture
def store(first: dict[str, Any], shared_root: Path) -> Store:
    """The store of a first run."""
    return open_store(shared_root / "artifacts")


def test_the_stage_is_built_once(store: Store, shared_root: Path) -> None:
    """Compression and overlap are an artifact; a second call finds it; the speed is volatile."""
    evaluation = resolve(store, "evaluate")
    shards = record_of(store, evaluation.inputs["valid"])
    context = RunContext(
        store_url=store.url,
        root=str(shared_root),
        workers=1,
        tracking=TrackingTarget(uri="", experiment=""),
    )
    config = ComparisonConfig(num_documents=3)
    inputs = {"tokenizer_tiny": evaluation.inputs["tokenizer"], "text_tiny": shards.inputs["text"]}
    identity = COMPARE_TOKENIZERS.identify(config, **inputs)
    assert identity is not None

    @flow(persist_result=False)
    def twice() -> list[str]:
        states = [COMPARE_TOKENIZERS.perform(context, identity, config) for _ in range(2)]
        return [state.name or "" for state in states]

    assert twice() == ["Completed", "Cached"]
    reference = identity.reference(store.url)
    record = record_of(store, reference)
    comparison = json.loads(local_file(store, reference, COMPARISON).read_text())
    assert len(comparison["documents"]["tiny"]) == 3
    assert comparison["compression"]["tiny"]["tiny"]["bytes_per_token"] > 1
    assert tuple(record.volatile) == (THROUGHPUT,)
    assert "tiny on tiny" in COMPARE_TOKENIZERS.show(store, record).line
    other = COMPARE_TOKENIZERS.identify(ComparisonConfig(num_documents=4), **inputs)
    assert other is not None
    assert other.fingerprint != identity.fingerprint


def test_the_newest_of_each_other_corpus_is_compared_with(
    store: Store, first: dict[str, Any]
) -> None:
    """The run's own artifacts come first; a corpus without tokenizer or text is left out."""
    own = {f"{s['stage']} {s['label']}".strip(): Reference.from_json(s) for s in first["stages"]}
    inputs = comparison_inputs(store, own, "mine")
    assert inputs["tokenizer_mine"] == own["train_tokenizer"]
    assert inputs["text_mine"] == own["download valid"]
    newest = resolve(store, "train_tokenizer")
    corpus = newest.labels["corpus"]
    assert inputs[f"tokenizer_{corpus}"].fingerprint == newest.fingerprint
    assert len(inputs) == 4
    assert comparison_inputs(store, {}, "mine") == {}


def test_the_command_compares_artifacts_with_the_phases_of_their_training(
    store: Store, corpus: dict[str, Path]
) -> None:
    """A name of the store brings the seconds of each phase; a folder has none."""
    name = resolve(store, "train_tokenizer").fingerprint[:12]
    arguments = [name, "--store", store.url, "-i", str(corpus["valid"]), "--threads", "1"]
    found = json.loads(CliRunner().invoke(app, ["compare", *arguments, "--json"]).stdout)
    phases = found["training_phases"][name]
    assert list(phases)[:3] == ["count pretokens", "build pair tables", "merge"]
    assert all(seconds >= 0 for seconds in phases.values())
    page = CliRunner().invoke(app, ["compare", *arguments]).stdout
    assert f"Training of {name}" in page
    assert "uint16 (up to 65,535)" in page
