"""Resuming: whether a checkpoint belongs to a run, and which choices the run keeps from it."""

import json
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path

from lm.checkpoint.durable import Checkpoint, JsonObject
from lm.machine.probe import Plan
from lm.training.job.job import TrainJob

CHOICES_THAT_CHANGE_BITS = (
    "fast",
    "compile",
    "attention",
    "micro_batch_size",
    "num_threads",
    "fp32_matmul",
    "loss_form",
    "loss_chunk",
    "decisions",
    "products",
    "graphs",
    "deterministic",
)
"""Fields of a plan that a resumed run keeps, so that it rounds as it did before."""


def config_facts(job: TrainJob, train_tokens: int, valid_tokens: int) -> JsonObject:
    """Return what determines the result of a run, as plain JSON values."""
    facts = {
        "model": asdict(job.model_config),
        "train_lm": asdict(job.train_config),
        "shards": {"train_tokens": train_tokens, "valid_tokens": valid_tokens},
    }
    values: JsonObject = json.loads(json.dumps(facts))  # tuples become lists, as when stored
    return values


def check_same_config(checkpoint: Checkpoint, facts: JsonObject, *, folder: Path) -> None:
    """Refuse a checkpoint of another configuration.

    Raises:
        ValueError: Names every field that differs, with both values.
    """
    differences = list(_differences(checkpoint.facts["config"], facts))
    if differences:
        raise ValueError(
            f"{folder} holds checkpoints of another configuration: {'; '.join(differences)}. "
            "Give another output folder, or the configuration that it was started with"
        )


def _differences(stored: JsonObject, given: JsonObject) -> Iterator[str]:
    for section in sorted(stored.keys() | given.keys()):
        old, new = stored.get(section, {}), given.get(section, {})
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                yield f"{section}.{name} was {old.get(name)!r}, now {new.get(name)!r}"


def take_over_plan(plan: Plan, checkpoint: Checkpoint) -> Plan:
    """Return the plan with the stored choices that change rounding; on another device as it is."""
    stored = checkpoint.facts["plan"]
    if stored["device"] != plan.device:
        note = f"resumed on {plan.device} from {stored['device']}: not bit for bit"
        return replace(plan, notes=(*plan.notes, note))
    # A field that the checkpoint lacks is younger than it; its default is what was done before.
    before = {field.name: field.default for field in fields(Plan)} | stored
    return replace(plan, **{name: before[name] for name in CHOICES_THAT_CHANGE_BITS})
