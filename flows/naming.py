"""How runs and artifacts are named for people: by a preset, and what differs from it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from artifacts.record import Record
from flows.config import PipelineConfig
from flows.presets import PRESETS
from tasks.tracking.runs import flatten

UNTOLD = ("model.vocab_size", "corpus.name")
"""Settings that follow from others, or change nothing."""


def differences(config: PipelineConfig, preset: PipelineConfig) -> dict[str, str]:
    """Return the settings that differ from the preset, by `section.field`, with short values.

    How a run is done, the section `run`, is left out, and so is what follows from another field.
    """
    here, there = (flatten(dataclasses.asdict(item)) for item in (config, preset))
    return {
        name: short(value)
        for name, value in here.items()
        if value != there[name]
        if not name.startswith("run.") and name not in UNTOLD
    }


def title_of(preset: str, different: dict[str, str], loss: float | None = None) -> str:
    """Return a name for people; fields go without their section, and empty ones not at all.

    >>> title_of("smoke", {"train_lm.max_steps": "60"}), title_of("smoke", {}, 3.86831)
    ('smoke max_steps=60', 'smoke 3.868')
    >>> title_of("smoke", {"corpus.train": "mine", "corpus.valid": ""})
    'smoke train=mine'
    """
    fields = [f"{name.rpartition('.')[2]}={value}" for name, value in different.items() if value]
    losses = [] if loss is None else [f"{loss:.3f}"]
    return " ".join([preset, *losses, *fields])


def title_of_settings(preset: str, settings: Sequence[str]) -> str:
    """Return a name for people from what was typed.

    >>> title_of_settings("smoke", ["train_lm.max_steps=60", "corpus.train=far/away/a.txt"])
    'smoke max_steps=60 train=a.txt'
    """
    pairs = (setting.partition("=") for setting in settings)
    return title_of(preset, {name: short(value) for name, _, value in pairs})


def short(value: object) -> str:
    """Write a value in few characters: of an address or path the last part, of a float no zeros.

    >>> short("/somewhere/far/train.txt.gz"), short(0.0003), short(("def ", "The "))
    ('train.txt.gz', '0.0003', 'def,The')
    """
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ",".join(short(item) for item in value)
    text = str(value).strip()
    return PurePosixPath(text).name if "/" in text else text


def name_artifact(record: Record, losses: Mapping[str, float]) -> str:
    """Return what an artifact is for people: its labels, its loss, what differs from the preset.

    `losses` has those of the models that were evaluated, by fingerprint.
    """
    words = [*record.labels.values()]
    if (loss := losses.get(record.fingerprint, record.statistics.get("valid_loss"))) is not None:
        words.append(f"loss {loss:.3f}")
    preset = record.labels.get("preset", "")
    return title_of(" ".join(words), _made_otherwise(record, preset) if preset in PRESETS else {})


def losses_of_models(records: Iterable[Record]) -> dict[str, float]:
    """Return the loss of each model that was evaluated, by its fingerprint."""
    return {
        record.inputs["model"].fingerprint: record.statistics["loss"]
        for record in records
        if "model" in record.inputs and record.statistics.get("loss") is not None
    }


def _made_otherwise(record: Record, preset: str) -> dict[str, str]:
    """Return the settings of an artifact that its preset has otherwise."""
    usual = flatten(dataclasses.asdict(PRESETS[preset]()))
    made = {
        name: short(value)
        for part, value in flatten(record.config).items()
        if (name := _field_of(part, record.stage, usual))
    }
    return {name: value for name, value in made.items() if value != short(usual[name])}


def _field_of(part: str, stage: str, usual: Iterable[str]) -> str:
    """Return the field of the configuration that a part of an artifact's settings is; "": none.

    >>> _field_of("seed", "generate", ["train_lm.seed", "generate.seed"])
    'generate.seed'
    """
    told = [name for name in usual if name not in UNTOLD]
    alike = [name for name in told if name.partition(".")[2] == part]
    for name in (part, f"{stage}.{part}"):
        if name in told:
            return name
    return alike[0] if len(alike) == 1 else ""
