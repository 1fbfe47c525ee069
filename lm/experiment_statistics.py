"""Statistics of training runs: noise floor, paired comparisons, and how many seeds they need.

Runs are paired by seed: both arms of a pair have the same seed and the same data order, so that
what the seed does to both cancels in their difference (Box, Hunter and Hunter 2005, section 3.2).
Losses are in nats a token, as everywhere. Imports no torch.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtr, nctdtrinc, ndtri, stdtrit

Numbers = Sequence[float] | NDArray[np.float64] | NDArray[np.int64]

CONFIDENCE = 0.95
"""Share of intervals that hold the true difference, over all comparisons of one sweep."""

POWER = 0.80
"""Chance to see a difference that is there; the convention of Cohen 1988, section 2.4."""

_SMALLEST_EFFECT = 0.0028
"""Difference over deviation that a million pairs show at a power of 80 %."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedComparison:
    """The difference of two arms over seeds that both have."""

    num_pairs: int
    difference: float
    """Mean of (arm - against): below 0, the arm has the lower loss."""
    standard_error: float
    """Standard deviation of the differences over the root of `num_pairs`."""
    interval: tuple[float, float]
    """Two-sided t interval of 95 %, made wider as `correction` says."""
    correction: str
    """How several comparisons are corrected for; `none` for a single one."""
    verdict: str
    """In words; it begins with `no conclusion` where the interval holds 0."""
    seeds_needed: int | None
    """Pairs that show a difference of this size with a power of 80 %; None for a difference
    of about 0. It takes the measured difference for the true one, which few pairs overstate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedSpread:
    """Spread of the same run over seeds: the noise floor of every comparison."""

    num_seeds: int
    mean: float
    standard_deviation: float
    smallest_difference: float
    """Smallest paired difference that this many pairs show with a power of 80 %. The runs of a
    pair are taken for independent; where pairing helps, smaller ones show too."""


def t_interval(values: Numbers, *, num_comparisons: int = 1) -> NDArray[np.float64]:
    """Return the lower and the upper end of the t interval of the mean, over the last axis.

    The level is 1 - 0.05 / `num_comparisons` (Bonferroni), so that all intervals of a sweep hold
    their true differences at once in at least 95 % of sweeps (Dunn 1961).
    """
    array = np.asarray(values, dtype=np.float64)
    count = array.shape[-1]
    if count < 2:
        raise ValueError(f"an interval needs at least 2 values, not {count}: train more seeds")
    error = array.std(axis=-1, ddof=1) / math.sqrt(count)
    reach = _critical_t(count - 1, num_comparisons) * error
    mean = array.mean(axis=-1)
    return np.stack([mean - reach, mean + reach])


def compare_pairs(
    arm: Mapping[int, float],
    against: Mapping[int, float],
    *,
    planned_seeds: Collection[int],
    num_comparisons: int = 1,
) -> PairedComparison:
    """Compare two arms by their losses of the same seeds.

    Args:
        arm: Loss by seed; a seed whose training failed or diverged is absent.
        against: The same of the arm to compare with.
        planned_seeds: The seeds fixed before the first training, see `stopping_rule`.
        num_comparisons: Comparisons that the sweep makes in all.

    Raises:
        ValueError: A seed was not planned, a loss is not finite, or fewer than two pairs are left.
    """
    seeds = _paired_seeds(arm, against, planned_seeds)
    differences = np.array([arm[seed] - against[seed] for seed in seeds])
    low, high = (float(end) for end in t_interval(differences, num_comparisons=num_comparisons))
    deviation = float(differences.std(ddof=1))
    difference = float(differences.mean())
    return PairedComparison(
        num_pairs=len(seeds),
        difference=difference,
        standard_error=deviation / math.sqrt(len(seeds)),
        interval=(low, high),
        correction=correction_name(num_comparisons),
        verdict=_verdict(low, high, len(seeds), len(planned_seeds)),
        seeds_needed=seeds_needed(difference, deviation=deviation, num_comparisons=num_comparisons),
    )


def _paired_seeds(
    arm: Mapping[int, float], against: Mapping[int, float], planned_seeds: Collection[int]
) -> list[int]:
    unplanned = sorted((set(arm) | set(against)) - set(planned_seeds))
    if unplanned:
        raise ValueError(
            f"seeds {unplanned} are not among the planned {sorted(planned_seeds)}: the number of "
            "seeds is fixed before the first training, so start a new sweep with more"
        )
    seeds = sorted(set(arm) & set(against))
    if len(seeds) < 2:
        raise ValueError(f"a comparison needs at least 2 pairs, not {len(seeds)}: add seeds")
    lost = [seed for seed in seeds if not math.isfinite(arm[seed] - against[seed])]
    if lost:
        raise ValueError(f"the losses of seeds {lost} are not finite: leave diverged runs out")
    return seeds


def _verdict(low: float, high: float, num_pairs: int, num_planned: int) -> str:
    if low <= 0.0 <= high:
        words = "no conclusion: the interval holds 0"
    elif high < 0.0:
        words = "better: the whole interval is below 0"
    else:
        words = "worse: the whole interval is above 0"
    if num_pairs < num_planned:
        words += f" (only {num_pairs} of {num_planned} planned pairs have two losses)"
    return words


def correction_name(num_comparisons: int) -> str:
    """Name the correction for this many comparisons."""
    if num_comparisons == 1:
        return "none"
    level = 1 - (1 - CONFIDENCE) / num_comparisons
    return f"Bonferroni, {num_comparisons} comparisons: each interval is of {100 * level:.2f} %"


def measure_spread(losses: Sequence[float]) -> SeedSpread:
    """Measure the noise floor from the losses of one configuration under several seeds."""
    if len(losses) < 2:
        raise ValueError(f"a spread needs at least 2 seeds, not {len(losses)}")
    deviation = float(np.std(losses, ddof=1))
    return SeedSpread(
        num_seeds=len(losses),
        mean=float(np.mean(losses)),
        standard_deviation=deviation,
        smallest_difference=smallest_difference(
            len(losses), deviation=difference_deviation(deviation)
        ),
    )


def difference_deviation(deviation: float, *, correlation: float = 0.0) -> float:
    """Return the deviation of a pair's difference, when both runs have this deviation.

    Var(X - Y) = 2 s^2 (1 - r); 0 for r is the careful choice, as equal seeds can only help.
    """
    return deviation * math.sqrt(2 * (1 - correlation))


def smallest_difference(num_pairs: int, *, deviation: float, num_comparisons: int = 1) -> float:
    """Return the smallest true difference that a paired t test shows with a power of 80 %.

    The test statistic follows a noncentral t with noncentrality d sqrt(n) / s (Cohen 1988,
    section 2.5); the far tail, below 1e-6 at this power, is left out.

    Args:
        num_pairs: Pairs of runs, n.
        deviation: Standard deviation s of the differences, see `difference_deviation`.
        num_comparisons: Comparisons to correct for.
    """
    if num_pairs < 2:
        raise ValueError(f"num_pairs ({num_pairs}) must be at least 2")
    critical = _critical_t(num_pairs - 1, num_comparisons)
    noncentrality = float(nctdtrinc(num_pairs - 1, 1 - POWER, critical))
    return noncentrality * deviation / math.sqrt(num_pairs)


def seeds_needed(difference: float, *, deviation: float, num_comparisons: int = 1) -> int | None:
    """Return the fewest pairs that show a true difference with a power of 80 %.

    Starts at the normal approximation, which is never too high, and counts up to the exact number.
    None where a million pairs are not enough, as for a difference of 0.
    """
    effect = abs(difference) / deviation if deviation > 0 else math.inf
    if difference == 0.0 or effect < _SMALLEST_EFFECT:
        return None
    normal = float(ndtri(_upper_level(num_comparisons)) + ndtri(POWER)) / effect
    num_pairs = max(2, math.floor(normal**2))
    while _power(num_pairs, effect, num_comparisons) < POWER:
        num_pairs += 1
    return num_pairs


def stopping_rule(num_pairs: int) -> str:
    """State the rule that all sweeps keep: the seeds are fixed before the first result is seen."""
    return (
        f"{num_pairs} seeds a side, fixed before the first training; no seed is added after a look "
        "at the results, and none is dropped but those whose training failed or diverged"
    )


def power_statement(num_pairs: int, *, deviation: float, num_comparisons: int = 1) -> str:
    """State, before a sweep, which differences it can show; `deviation` is of the differences."""
    if num_pairs < 2:
        return "1 seed a side: no difference can be told from noise; take at least 2 seeds"
    if deviation == 0.0:
        return f"{num_pairs} seeds a side show any difference: seeds change nothing here"
    smallest = smallest_difference(num_pairs, deviation=deviation, num_comparisons=num_comparisons)
    half = seeds_needed(smallest / 2, deviation=deviation, num_comparisons=num_comparisons)
    return (
        f"{num_pairs} seeds a side show a difference of {smallest:.4f} nats with a power of "
        f"{POWER:.0%}; half of it would need {half}"
    )


def cluster_standard_error(loss_sums: Numbers, num_tokens: Numbers) -> float | None:
    """Return the standard error of a loss a token, clusters being independent; None for one.

    The loss is a ratio of two sums over clusters, so its error is the ratio estimator's
    (Cochran 1977, section 2.11). Tokens of one document are not independent of each other, so
    documents are the natural clusters; windows of a fixed length are nearly as good.

    Args:
        loss_sums: Total loss of each cluster.
        num_tokens: Predicted tokens of each cluster.
    """
    sums = np.asarray(loss_sums, dtype=np.float64)
    lengths = np.asarray(num_tokens, dtype=np.int64)
    count = len(sums)
    if count < 2:
        return None
    residuals = sums - sums.sum() / lengths.sum() * lengths
    variance = count / (count - 1) * float((residuals**2).sum())
    return math.sqrt(variance) / int(lengths.sum())


def _upper_level(num_comparisons: int) -> float:
    if num_comparisons < 1:
        raise ValueError(f"num_comparisons ({num_comparisons}) must be at least 1")
    return 1 - (1 - CONFIDENCE) / 2 / num_comparisons


def _critical_t(degrees: int, num_comparisons: int) -> float:
    return float(stdtrit(degrees, _upper_level(num_comparisons)))


def _power(num_pairs: int, effect: float, num_comparisons: int) -> float:
    """Return the chance that the interval leaves 0 out; `effect` is in standard deviations."""
    if math.isinf(effect):
        return 1.0
    critical = _critical_t(num_pairs - 1, num_comparisons)
    return 1.0 - float(nctdtr(num_pairs - 1, effect * math.sqrt(num_pairs), critical))
