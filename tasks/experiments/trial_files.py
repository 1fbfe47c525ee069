"""The files of one finished trial: read from the store, or kept in a folder without weights.

A folder of kept trials is small enough to be committed. A sweep that reads it trains none of them
again, so a study can continue on another machine.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from artifacts.identity import Identity, Reference
from artifacts.published.reading import local_folder
from artifacts.record import JsonObject, Record
from artifacts.store import Store, record_of
from lm.accounting.parameters import num_parameters
from lm.config import ModelConfig, TrainConfig
from lm.training.job.ending import Ending, judge_ending
from tasks.experiments.sweep_results import CurvePoint, Trial

LOGS = ("metrics.jsonl", "timings.jsonl")
MAX_CURVE_POINTS = 1000
"""Points of one series in a chart; the full series is in the model's artifact."""


@dataclass(frozen=True, kw_only=True)
class TrialFiles:
    """What is kept of a trial: two records, and the lines of its training."""

    model: Record
    evaluation: Record
    logs: Mapping[str, str]
    """The text of `metrics.jsonl` and of `timings.jsonl`."""

    def lines(self, name: str) -> list[JsonObject]:
        """Return the lines of one log."""
        return [json.loads(line) for line in self.logs[name].splitlines()]


@dataclass(frozen=True, kw_only=True)
class TrialName:
    """What a sweep calls a trial."""

    label: str
    arm: str
    overrides: JsonObject
    seed: int


def read_stored(store: Store, model: Reference, evaluation: Reference) -> TrialFiles:
    """Read a trial from its artifacts; the weights stay where they are."""
    folder = local_folder(store, model, LOGS)
    return TrialFiles(
        model=record_of(store, model),
        evaluation=record_of(store, evaluation),
        logs={name: (folder / name).read_text(encoding="utf-8") for name in LOGS},
    )


def read_kept(folder: Path, model: Identity, evaluation: Identity) -> TrialFiles | None:
    """Read a trial that was kept; `None` where this one was not.

    Raises:
        ValueError: A file of it is damaged.
    """
    place = _kept_place(folder, model)
    if not place.is_dir():
        return None
    try:
        files = TrialFiles(
            model=_read_record(place / "model.json"),
            evaluation=_read_record(place / "evaluation.json"),
            logs={name: (place / name).read_text(encoding="utf-8") for name in LOGS},
        )
    except (OSError, ValueError) as error:
        raise ValueError(f"the kept trial {place} is damaged: {error}; delete it") from error
    same_model = files.model.fingerprint == model.fingerprint
    same_evaluation = files.evaluation.config == json.loads(json.dumps(dict(evaluation.config)))
    return files if same_model and same_evaluation else None


def keep(folder: Path, files: TrialFiles) -> None:
    """Keep a trial in a folder: what it was, what it gave and its curves."""
    place = _kept_place(folder, files.model)
    if place.is_dir():
        return
    partial = place.with_name(f".{place.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    _write_record(partial / "model.json", files.model)
    _write_record(partial / "evaluation.json", files.evaluation)
    for name, text in files.logs.items():
        (partial / name).write_text(text, encoding="utf-8")
    partial.rename(place)


def trial_of(files: TrialFiles, name: TrialName) -> Trial:
    """Return what a sweep keeps of a trial."""
    model, evaluation = files.model, files.evaluation.statistics
    shape, config = ModelConfig(**model.config["model"]), _train_config(model)
    lines = files.lines("metrics.jsonl")
    ending = _ending(files, shape, config, lines)
    losses = [float(line["valid/loss"]) for line in lines if line.get("valid/loss") is not None]
    return Trial(
        label=name.label,
        arm=name.arm,
        overrides=name.overrides,
        seed=name.seed,
        status=ending.status,
        model=model.place,
        evaluation=files.evaluation.place,
        num_parameters=num_parameters(shape),
        tokens=int(model.statistics["tokens_seen"]),
        seconds=float(model.statistics["seconds"]),
        valid_loss=evaluation["loss"],
        valid_loss_error=evaluation.get(
            "standard_error_over_documents", evaluation["standard_error"]
        ),
        bits_per_byte=evaluation["bits_per_byte"],
        best_valid_loss=min(losses, default=None),
        last_finite_loss=ending.last_finite_loss,
        diverged_at_step=ending.step,
        diverged_at_rate=ending.learning_rate,
        curve=thinned(_curve(lines, files.lines("timings.jsonl"))),
    )


def failed_trial(name: TrialName, failure: str) -> Trial:
    """Return a trial that ended in an error."""
    return Trial(
        label=name.label,
        arm=name.arm,
        overrides=name.overrides,
        seed=name.seed,
        status="failed",
        failure=failure,
    )


def thinned(
    points: Sequence[CurvePoint], *, limit: int = MAX_CURVE_POINTS
) -> tuple[CurvePoint, ...]:
    """Return at most `limit` points: all that hold a validation, the others evenly spread.

    The first and the last point stay; so do validations, unless they alone are too many.
    """
    if len(points) <= limit:
        return tuple(points)
    validated = [number for number, point in enumerate(points) if point.valid_loss is not None]
    if len(validated) > limit // 2:
        validated = []
    spread = limit - len(validated)
    numbers = {*validated, *(round(n * (len(points) - 1) / (spread - 1)) for n in range(spread))}
    return tuple(points[number] for number in sorted(numbers))


def _train_config(model: Record) -> TrainConfig:
    values: dict[str, Any] = dict(model.config["train_lm"])
    return TrainConfig(**{**values, "betas": tuple(values["betas"])})


def _ending(
    files: TrialFiles, shape: ModelConfig, config: TrainConfig, lines: Sequence[JsonObject]
) -> Ending:
    facts = files.evaluation.statistics
    return judge_ending(
        lines,
        config,
        given_up=bool(files.model.statistics["diverged"]),
        final_loss=facts["loss"],
        unigram_entropy=float(facts["unigram_entropy"]),
        vocab_size=shape.vocab_size,
    )


def _curve(lines: Sequence[JsonObject], timings: Sequence[JsonObject]) -> list[CurvePoint]:
    """Join the lines of each step; the seconds between two timings are in proportion."""
    seconds = _Seconds(timings)
    points: dict[int, CurvePoint] = {}
    for line in lines:
        step = int(line["step"])
        point = points.get(step) or CurvePoint(
            step=step, tokens=int(line["tokens_seen"]), seconds=seconds.at(step)
        )
        if "train/loss" in line:
            rate = line["train/learning_rate"]
            point = replace(point, train_loss=line["train/loss"], learning_rate=rate)
        if "spike/loss" in line:
            point = replace(point, train_loss=line["spike/loss"])
        if "valid/loss" in line:
            point = replace(point, valid_loss=line["valid/loss"])
        points[step] = point
    return [points[step] for step in sorted(points)]


class _Seconds:
    """Seconds of training at any step, from the timings at some of them."""

    def __init__(self, timings: Sequence[JsonObject]) -> None:
        # A resumed run repeats steps after its checkpoint; the later line counts all seconds.
        by_step = {int(line["step"]): float(line["perf/elapsed_s"]) for line in timings}
        self.known = [(0, 0.0), *sorted(by_step.items())]

    def at(self, step: int) -> float:
        """Return the seconds at a step; beyond the last timing, at its pace."""
        if len(self.known) < 2:
            return 0.0
        pairs = list(pairwise(self.known))
        after = bisect_left([known for known, _ in self.known[1:]], step)
        (step0, seconds0), (step1, seconds1) = pairs[min(after, len(pairs) - 1)]
        share = (step - step0) / max(1, step1 - step0)
        return round(seconds0 + share * (seconds1 - seconds0), 3)


def _kept_place(folder: Path, model: Identity | Record) -> Path:
    return folder / model.fingerprint[:16]


def _read_record(path: Path) -> Record:
    return Record.from_json(json.loads(path.read_text(encoding="utf-8")))


def _write_record(path: Path, record: Record) -> None:
    """Write a record without what is of one machine alone: addresses, ids of runs, its kernel."""
    data = record.to_json()
    data["run_ids"] = {}
    data["environment"].pop("platform", None)
    data["inputs"] = {name: {**reference, "uri": ""} for name, reference in data["inputs"].items()}
    path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
