"""Sweep results made up for tests: every status, every kind of comparison. No run gave them."""

from collections.abc import Sequence
from typing import Any

from lm.experiment_statistics import compare_pairs, measure_spread
from tasks.experiments.sweep_results import (
    Comparison,
    CurvePoint,
    NoiseFloor,
    SweepResult,
    Trial,
    TrialStatus,
)

SHARED: dict[str, Any] = {"preset": "smoke", "corpus": "stdlib", "held_equal": "100 steps"}


def made_up_trial(
    label: str,
    end: float,
    *,
    arm: str = "baseline",
    overrides: dict[str, object] | None = None,
    seed: int = 0,
    status: TrialStatus = "finished",
    tokens_per_step: int = 2048,
) -> Trial:
    """Return a trial whose loss falls from 7.6 to its end, or is lost half-way."""
    steps = range(10, 60 if status == "diverged" else 110, 10)
    curve = tuple(
        CurvePoint(
            step=step,
            tokens=step * tokens_per_step,
            seconds=step * 0.1 * tokens_per_step / 2048,
            train_loss=end + (7.6 - end) * 0.93**step if status != "diverged" else 7.6 + step / 9,
        )
        for step in steps
    )
    lost = status in ("diverged", "failed")
    return Trial(
        label=label,
        arm=arm,
        overrides=overrides or {},
        seed=seed,
        status=status,
        failure="out of memory" if status == "failed" else "",
        model="" if status == "failed" else f"train_lm/{label.encode().hex():0<16.16}",
        num_parameters=917_504,
        tokens=steps[-1] * tokens_per_step,
        seconds=curve[-1].seconds,
        valid_loss=None if lost else end,
        valid_loss_error=None if lost else 0.05,
        bits_per_byte=None if lost else end / 2.1,
        last_finite_loss=12.5 if status == "diverged" else end,
        diverged_at_step=54 if status == "diverged" else None,
        diverged_at_rate=1.0 if status == "diverged" else None,
        curve=() if status == "failed" else curve,
    )


def rates() -> SweepResult:
    """Four rates, the highest of which diverges."""
    axis = "train_lm.max_learning_rate"
    ends = {0.001: 5.2, 0.01: 4.6, 0.1: 4.9}
    trials = [
        made_up_trial(f"rate {rate:g}", end, arm=f"rate {rate:g}", overrides={axis: rate})
        for rate, end in ends.items()
    ]
    lost = made_up_trial("rate 1", 0.0, arm="rate 1", overrides={axis: 1.0}, status="diverged")
    return SweepResult(
        kind="learning-rate",
        axis=axis,
        command="owt sweep learning-rate --preset smoke",
        trials=(*trials, lost),
        **SHARED,
    )


def batches() -> SweepResult:
    """Three batch sizes, one of which does not fit."""
    axis = "train_lm.batch_size"
    ends: dict[int, float] = {4: 5.1, 16: 4.7, 64: 4.4, 4096: 0.0}
    trials = [
        made_up_trial(
            f"batch {size}",
            end,
            arm=f"batch {size}",
            overrides={axis: size},
            tokens_per_step=128 * size,
            status="finished" if end else "failed",
        )
        for size, end in ends.items()
    ]
    return SweepResult(
        kind="batch-size",
        axis=axis,
        command="owt sweep batch-size --preset smoke",
        trials=tuple(trials),
        notes=("Rates are scaled by the square root of the batch size.",),
        **SHARED,
    )


def arms() -> SweepResult:
    """A baseline and three variants under three seeds: better, worse, undecided."""
    shifts = {
        "baseline": (0.0, 0.0, 0.0),
        "NoPE": (0.11, 0.14, 0.12),
        "SiLU": (-0.02, 0.03, 0.01),
        "no RMSNorm": (-0.2, -0.22, -0.19),
    }
    trials = [
        made_up_trial(f"{arm}, seed {seed}", 4.6 + 0.02 * seed + shift, arm=arm, seed=seed)
        for arm, found in shifts.items()
        for seed, shift in enumerate(found)
    ]
    losses = {
        arm: {t.seed: float(t.valid_loss or 0) for t in trials if t.arm == arm} for arm in shifts
    }
    return SweepResult(
        kind="ablations",
        command="owt sweep ablations --preset smoke",
        trials=tuple(trials),
        comparisons=tuple(
            _compared(arm, losses[arm], losses["baseline"], len(shifts) - 1)
            for arm in list(shifts)[1:]
        ),
        **SHARED,
    )


def _compared(
    arm: str, losses: dict[int, float], against: dict[int, float], num_comparisons: int
) -> Comparison:
    found = compare_pairs(
        losses, against, planned_seeds=list(against), num_comparisons=num_comparisons
    )
    return Comparison(
        arm=arm,
        against="baseline",
        num_pairs=found.num_pairs,
        difference=found.difference,
        standard_error=found.standard_error,
        interval=found.interval,
        correction=found.correction,
        verdict=found.verdict,
        seeds_needed=found.seeds_needed,
    )


def floor() -> SweepResult:
    """Three seeds of the same run."""
    ends: Sequence[float] = (4.6, 4.62, 4.57)
    spread = measure_spread(list(ends))
    return SweepResult(
        kind="seeds",
        command="owt sweep seeds --preset smoke",
        trials=tuple(made_up_trial(f"seed {n}", end, seed=n) for n, end in enumerate(ends)),
        noise_floor=NoiseFloor(
            num_seeds=spread.num_seeds,
            mean=spread.mean,
            standard_deviation=spread.standard_deviation,
            smallest_difference=spread.smallest_difference,
        ),
        **SHARED,
    )


ALL = (rates, batches, arms, floor)
