"""A trained model with its tokenizer: found by name, and writing what the stage published."""

import json
from pathlib import Path
from typing import Any

import pytest

from artifacts.published.reading import local_file
from artifacts.store import Store, list_records, open_store, reference_of, resolve
from flows.config import resolve_config
from flows.presets import find_preset
from lm.config import RunOptions
from tasks.generate import SAMPLES
from tasks.text_model import find_models, open_text_model, stream


@pytest.fixture
def store(first: dict[str, Any], shared_root: Path) -> Store:
    """The store of a first run."""
    return open_store(shared_root / "artifacts")


def test_a_model_is_found_by_what_a_user_calls_it(store: Store) -> None:
    """Nothing, the stage, the start of a fingerprint, a label, or stage and fingerprint."""
    newest = resolve(store, "train_lm")
    start = newest.fingerprint[:10]
    for name in ("", "train_lm", start, f"train_lm/{start}", "preset=smoke"):
        assert {record.stage for record in find_models(store, name)} == {"train_lm"}
    assert find_models(store, start) == [newest]
    assert find_models(store, "") == list_records(store, "train_lm")


def test_a_store_without_a_model_is_named(tmp_path: Path) -> None:
    """The caller knows the command that trains one."""
    with pytest.raises(FileNotFoundError, match=r"no trained model is in .*empty yet"):
        find_models(open_store(tmp_path / "empty"), "")


def test_an_unknown_model_is_refused(store: Store) -> None:
    """An artifact of another stage is no model."""
    evaluation = resolve(store, "evaluate").fingerprint[:10]
    with pytest.raises(ValueError, match=rf"no model fits '{evaluation}'") as caught:
        find_models(store, evaluation)
    assert "train_lm/" in str(caught.value).partition("; there are")[2]
    assert "encode_shards" not in str(caught.value)


def test_it_writes_what_the_stage_published(
    store: Store, first: dict[str, Any], settings: list[str]
) -> None:
    """The pieces that a caller gets make up the text, which is the sample of the same seed."""
    config = resolve_config(find_preset("smoke"), None, settings).generate
    fingerprint = next(s["fingerprint"] for s in first["stages"] if s["stage"] == "generate")
    samples = reference_of(store, resolve(store, fingerprint))
    sample = json.loads(local_file(store, samples, SAMPLES).read_text())[0]
    model = resolve(store, samples_model(store, fingerprint))
    text_model = open_text_model(store, reference_of(store, model), RunOptions())
    pieces: list[str] = []
    token_ids = stream(
        text_model, sample["prompt"], config=config, seed=sample["seed"], on_text=pieces.append
    )
    assert token_ids == sample["token_ids"]
    assert "".join(pieces) == sample["text"] == text_model.tokenizer.decode(token_ids)


def samples_model(store: Store, fingerprint: str) -> str:
    """Return the fingerprint of the model that wrote the samples."""
    return resolve(store, fingerprint).inputs["model"].fingerprint
