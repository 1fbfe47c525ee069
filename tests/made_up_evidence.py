"""Evidence for tests of the report's sections: settings, and records as a run would leave them."""

from dataclasses import asdict
from typing import Any

from artifacts.record import Record
from flows.config import PipelineConfig
from flows.presets import smoke
from flows.reporting.report import report_settings
from tasks.experiments.sweep_results import SweepResult
from tasks.report.evidence import Evidence, FoundSweep
from tasks.report.settings import ReportSettings

STAGES = ("download train", "train_lm", "evaluate")


def settings_of(config: PipelineConfig | None = None, **changes: Any) -> ReportSettings:
    """Return the settings of a report about the smoke preset."""
    found = report_settings(config or smoke(), "smoke", "--preset smoke")
    values = {name: getattr(found, name) for name in ReportSettings.__slots__}
    values["stages"] = STAGES
    return ReportSettings(**{**values, "sweeps": ("learning-rate", "seeds"), **changes})


def record_of_stage(stage: str, **facts: Any) -> Record:
    """Return a record with the given facts."""
    values: dict[str, Any] = {
        "stage": stage,
        "stage_version": 1,
        "fingerprint": stage.encode().hex().ljust(64, "0")[:64],
        "config": {},
        "inputs": {},
        "files": (),
        "folder": "attempt-1",
        "started_at": "2026-11-27T10:00:00+00:00",
        "seconds": 10.0,
        "environment": {
            "python": "3.11.7",
            "torch": "2.13.0",
            "platform": "Linux-6",
            "machine": "x",
        },
    }
    return Record(**{**values, **facts})


def trained(config: PipelineConfig, *, tokens: int, **statistics: Any) -> Record:
    """Return the record of a training."""
    facts = {
        "step": 300,
        "tokens_seen": tokens,
        "diverged": False,
        "seconds": 20.0,
        "environment": {"device": "cpu", "peak_flops": 1e11, "world_size": 1},
    }
    return record_of_stage(
        "train_lm",
        config={"model": asdict(config.model), "train_lm": asdict(config.train_lm)},
        statistics={**facts, **statistics},
    )


def with_sweeps(*results: SweepResult) -> Evidence:
    """Return evidence of sweeps alone."""
    found = tuple(FoundSweep(result=result, record=record_of_stage("sweep")) for result in results)
    return Evidence(settings=settings_of(), sweeps=found)
