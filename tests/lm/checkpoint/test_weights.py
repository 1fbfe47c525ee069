"""Tests of `lm/checkpoint/weights.py`, `lm/checkpoint/durable.py`, `lm/checkpoint/folder.py`."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lm.checkpoint.durable import (
    STATE_NAME,
    TENSORS_NAME,
    Checkpoint,
    DamagedCheckpointError,
    read_checkpoint,
    write_checkpoint,
    write_json,
)
from lm.checkpoint.folder import (
    CheckpointWriter,
    checkpoint_path,
    list_checkpoints,
    newest_intact,
    rotate,
)
from lm.checkpoint.weights import (
    load_checkpoint,
    load_config,
    load_model,
    load_weights,
    save_checkpoint,
    save_model,
)
from lm.config import ModelConfig
from lm.model.transformer import TransformerLM, plain_state_dict
from lm.optim.adamw import AdamW

TINY = ModelConfig(vocab_size=17, context_length=8, d_model=16, num_layers=2, num_heads=2, d_ff=32)


def tiny_model(seed: int = 0, config: ModelConfig = TINY) -> TransformerLM:
    """Build a model with weights of its own seed."""
    return TransformerLM(config, generator=torch.Generator().manual_seed(seed))


def train_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Take one step on fixed tokens."""
    optimizer.zero_grad()
    logits = model(torch.arange(8).view(1, 8))
    logits.logsumexp(-1).sum().backward()
    optimizer.step()


def some_checkpoint(step: int) -> Checkpoint:
    """Build a checkpoint whose content names its step."""
    return Checkpoint(step=step, tensors={"x": torch.full((10,), float(step))}, facts={"a": step})


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Compare state dicts bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_training_resumes_bit_for_bit_after_loading(tmp_path: Path) -> None:
    """Two steps, save, load into fresh objects, two steps: the same as four steps."""
    model = tiny_model()
    optimizer = AdamW(model.parameters(), lr=0.01)
    for _ in range(2):
        train_step(model, optimizer)
    save_checkpoint(model, optimizer, 2, tmp_path / "c")
    other = tiny_model(seed=1)
    other_optimizer = AdamW(other.parameters(), lr=0.5)
    assert load_checkpoint(tmp_path / "c", other, other_optimizer) == 2
    for _ in range(2):
        train_step(model, optimizer)
        train_step(other, other_optimizer)
    assert same(model.state_dict(), other.state_dict())
    assert other_optimizer.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]


def test_a_loaded_optimizer_equals_the_saved_one_for_torch_adamw(tmp_path: Path) -> None:
    """Torch's own optimizer survives the round trip, its tuple of betas included."""
    model = tiny_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    train_step(model, optimizer)
    save_checkpoint(model, optimizer, 1, tmp_path / "c")
    other = torch.optim.AdamW(model.parameters(), lr=0.1)
    load_checkpoint(tmp_path / "c", model, other)
    left, right = optimizer.state_dict(), other.state_dict()
    assert left["param_groups"] == right["param_groups"]
    for index, values in left["state"].items():
        assert same(values, right["state"][index])


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch.compile's own imports
def test_a_checkpoint_of_a_compiled_model_has_plain_names(tmp_path: Path) -> None:
    """The prefix of torch.compile is not in the files, and weights with it can be loaded."""
    model = tiny_model()
    compiled = torch.compile(model)
    assert isinstance(compiled, nn.Module)
    assert plain_state_dict(compiled.state_dict()).keys() == model.state_dict().keys()
    load_weights(compiled, tiny_model(seed=1).state_dict())
    assert same(model.state_dict(), tiny_model(seed=1).state_dict())
    prefixed = {f"_orig_mod.{name}": value for name, value in tiny_model(2).state_dict().items()}
    load_weights(model, prefixed)
    assert same(model.state_dict(), tiny_model(seed=2).state_dict())
    save_checkpoint(compiled, AdamW(compiled.parameters()), 0, tmp_path / "c")
    assert "model.ln_final.weight" in read_checkpoint(tmp_path / "c").tensors


@pytest.mark.parametrize("name", [TENSORS_NAME, STATE_NAME])
@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_damage_is_found(tmp_path: Path, name: str, damage: str) -> None:
    """A missing, cut or changed file is never read as a checkpoint."""
    write_checkpoint(tmp_path / "c", some_checkpoint(1))
    path = tmp_path / "c" / name
    content = bytearray(path.read_bytes())
    content[content.index(b"1" if name == STATE_NAME else 0x80)] ^= 1
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-5] if damage == "truncated" else content)
    with pytest.raises(DamagedCheckpointError):
        read_checkpoint(tmp_path / "c")


def test_the_newest_intact_checkpoint_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Damage to the newest one falls back to the one before, and says so."""
    assert newest_intact(tmp_path) is None
    for step in (9, 10):
        write_checkpoint(checkpoint_path(tmp_path, step), some_checkpoint(step))
    (checkpoint_path(tmp_path, 10) / TENSORS_NAME).write_bytes(b"noise")
    with caplog.at_level(logging.WARNING):
        found = newest_intact(tmp_path)
    assert found is not None
    assert (found.step, found.facts) == (9, {"a": 9})
    assert "step-00000010" in caplog.text


def test_rotation_keeps_the_newest_and_the_pinned(tmp_path: Path) -> None:
    """Of five, two newest and the pinned one stay."""
    for step in range(5):
        write_checkpoint(checkpoint_path(tmp_path, step), some_checkpoint(step))
    rotate(tmp_path, keep=2, pinned=frozenset({1}))
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1, 3, 4]
    assert len(list(tmp_path.iterdir())) == 3


def test_writing_a_step_again_replaces_it(tmp_path: Path) -> None:
    """The later content of a step wins, and nothing else is left."""
    path = checkpoint_path(tmp_path, 3)
    write_checkpoint(path, some_checkpoint(2))
    write_checkpoint(path, some_checkpoint(3))
    assert read_checkpoint(path).facts == {"a": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_the_writer_calls_back_while_the_checkpoint_is_there(tmp_path: Path) -> None:
    """The callback finds a whole checkpoint; leftovers of a killed writer are removed."""
    (tmp_path / ".partial-old").mkdir()
    seen: list[tuple[int, int]] = []

    def look(step: int, path: Path) -> None:
        seen.append((step, read_checkpoint(path).step))

    writer = CheckpointWriter(tmp_path, keep=1, on_checkpoint=look)
    for step in range(3):
        writer.write(some_checkpoint(step))
    writer.close()
    assert seen == [(0, 0), (1, 1), (2, 2)]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_an_error_of_the_writer_reaches_the_training_thread(tmp_path: Path) -> None:
    """An error in the background is raised at the next wait."""

    def fail(step: int, path: Path) -> None:
        raise OSError(f"no space for {step} at {path.name}")

    writer = CheckpointWriter(tmp_path, keep=1, on_checkpoint=fail)
    writer.write(some_checkpoint(1))
    with pytest.raises(OSError, match="no space for 1"):
        writer.close()


@pytest.mark.parametrize("tie_embeddings", [False, True])
def test_a_published_model_computes_the_same(tmp_path: Path, tie_embeddings: bool) -> None:
    """Logits after loading are those before saving, and torch's generator is not touched."""
    config = ModelConfig(
        vocab_size=17,
        context_length=8,
        d_model=16,
        num_layers=1,
        num_heads=2,
        d_ff=32,
        tie_embeddings=tie_embeddings,
    )
    model = tiny_model(3, config)
    save_model(tmp_path, model.state_dict(), config)
    generator_state = torch.get_rng_state()
    loaded = load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), generator_state)
    assert loaded.config == config == load_config(tmp_path)
    assert torch.equal(loaded(torch.arange(8)), model(torch.arange(8)))
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "config.json"}


def test_nan_in_weights_is_refused(tmp_path: Path) -> None:
    """The error names the tensor and how many values are bad."""
    weights = tiny_model().state_dict()
    weights["lm_head.weight"][0, 0] = torch.nan
    save_model(tmp_path, weights, TINY)
    with pytest.raises(ValueError, match=r"lm_head\.weight holds 1 values that are not finite"):
        load_model(tmp_path)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    """A config that does not fit the weights is an error, not a broken model."""
    save_model(tmp_path, tiny_model().state_dict(), TINY)
    values = json.loads((tmp_path / "config.json").read_text())
    write_json(tmp_path / "config.json", values | {"vocab_size": 18})
    with pytest.raises(ValueError, match="weights are those of another model"):
        load_model(tmp_path)


def test_a_checkpoint_of_another_model_or_with_nan_is_refused(tmp_path: Path) -> None:
    """Training does not go on with weights that it did not save, or that are no numbers."""
    model = tiny_model()
    save_checkpoint(model, AdamW(model.parameters()), 1, tmp_path / "good")
    other = tiny_model(config=replace(TINY, d_ff=48))
    with pytest.raises(ValueError, match="weights are those of another model"):
        load_checkpoint(tmp_path / "good", other, AdamW(other.parameters()))
    model.state_dict()["lm_head.weight"][0, 0] = torch.nan
    save_checkpoint(model, AdamW(model.parameters()), 1, tmp_path / "bad")
    with pytest.raises(ValueError, match=r"lm_head\.weight holds 1 values that are not finite"):
        load_checkpoint(tmp_path / "bad", model, AdamW(model.parameters()))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """The error names the file that is missing."""
    with pytest.raises(ValueError, match=r"config\.json is not the configuration"):
        load_model(tmp_path)
