"""Intervals, power and errors agree with scipy, published tables and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from lm.experiment_statistics import (
    cluster_standard_error,
    compare_pairs,
    correction_name,
    difference_deviation,
    measure_spread,
    power_statement,
    seeds_needed,
    smallest_difference,
    stopping_rule,
    t_interval,
)

NUM_DRAWS = 10_000


def by_seed(losses: list[float]) -> dict[int, float]:
    return dict(enumerate(losses))


@pytest.mark.parametrize("count", [2, 3, 5, 30])
def test_intervals_equal_scipys(count: int) -> None:
    """The interval is that of scipy's one-sample t test, with the level divided for several."""
    values = np.random.default_rng(count).normal(3.0, 0.1, count)
    test = stats.ttest_1samp(values, 0.0)
    for num_comparisons in (1, 4):
        expected = test.confidence_interval(1 - 0.05 / num_comparisons)
        found = t_interval(values, num_comparisons=num_comparisons)
        assert found == pytest.approx((expected.low, expected.high), rel=1e-12)


@pytest.mark.parametrize("count", [3, 5])
def test_intervals_cover_the_truth_in_95_percent(count: int) -> None:
    """In 10,000 draws 94 to 96 % of the intervals hold the true mean."""
    draws = np.random.default_rng(0).normal(0.02, 0.5, (NUM_DRAWS, count))
    low, high = t_interval(draws)
    assert np.mean((low <= 0.02) & (high >= 0.02)) == pytest.approx(0.95, abs=0.01)


def test_corrected_intervals_hold_all_truths_at_once() -> None:
    """With four arms against one baseline, all four intervals are right in at least 95 %."""
    arms = np.random.default_rng(1).normal(0.0, 1.0, (NUM_DRAWS, 5, 6))
    low, high = t_interval(arms[:, 1:] - arms[:, :1], num_comparisons=4)
    covered = np.mean(((low <= 0) & (high >= 0)).all(axis=1))
    uncorrected = t_interval(arms[:, 1:] - arms[:, :1])
    wrong = np.mean(((uncorrected[0] <= 0) & (uncorrected[1] >= 0)).all(axis=1))
    assert 0.95 - 0.01 <= covered < 0.99
    assert wrong < 0.90


@pytest.mark.parametrize("num_pairs", [3, 5, 20])
def test_a_difference_of_the_smallest_size_is_seen_in_80_percent(num_pairs: int) -> None:
    """In 10,000 draws the interval leaves 0 out as often as the power says."""
    true = smallest_difference(num_pairs, deviation=0.3)
    low, high = t_interval(np.random.default_rng(2).normal(true, 0.3, (NUM_DRAWS, num_pairs)))
    assert np.mean((low > 0) | (high < 0)) == pytest.approx(0.80, abs=0.015)


@pytest.mark.parametrize(
    ("effect", "num_pairs"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10), (2.0, 5)]
)
def test_seeds_needed_are_those_of_the_tables(effect: float, num_pairs: int) -> None:
    """Paired t test, two-sided 5 %, power 80 %: the sample sizes that G*Power prints."""
    assert seeds_needed(effect, deviation=1.0) == num_pairs
    assert seeds_needed(-3 * effect, deviation=3.0) == num_pairs


@pytest.mark.parametrize("effect", [0.01, 0.3, 1.7, 6.0, 50.0])
def test_seeds_needed_and_smallest_difference_are_inverse(effect: float) -> None:
    """One pair fewer than needed cannot show the difference."""
    needed = seeds_needed(effect, deviation=1.0, num_comparisons=3)
    assert needed is not None
    assert smallest_difference(needed, deviation=1.0, num_comparisons=3) <= effect * (1 + 1e-6)
    if needed > 2:
        assert smallest_difference(needed - 1, deviation=1.0, num_comparisons=3) > effect


def test_pairing_removes_what_the_seed_does_to_both() -> None:
    """Seeds that differ by far more than the arms hide nothing; unpaired runs would show none."""
    against = by_seed([3.0, 3.5, 2.5, 4.0])
    arm = {seed: loss - 0.01 + 0.001 * (seed % 2) for seed, loss in against.items()}
    found = compare_pairs(arm, against, planned_seeds=range(4))
    assert found.difference == pytest.approx(-0.0095)
    assert found.standard_error == pytest.approx(stats.sem([-0.01, -0.009, -0.01, -0.009]))
    assert found.verdict == "better: the whole interval is below 0"
    assert stats.ttest_ind(list(arm.values()), list(against.values())).pvalue > 0.9
    reverse = compare_pairs(against, arm, planned_seeds=range(4))
    assert reverse.verdict == "worse: the whole interval is above 0"
    assert reverse.interval == pytest.approx([-end for end in reversed(found.interval)])


def test_the_verdict_is_the_t_tests() -> None:
    """`no conclusion` comes exactly where scipy's paired test has p > 0.05 / comparisons."""
    random = np.random.default_rng(3)
    verdicts = set()
    for _ in range(200):
        one, other = random.normal([[0.7], [0.0]], 1.0, (2, 4))
        p_value = float(stats.ttest_rel(one, other).pvalue)
        found = compare_pairs(
            by_seed(one.tolist()),
            by_seed(other.tolist()),
            planned_seeds=range(4),
            num_comparisons=2,
        )
        assert found.verdict.startswith("no conclusion") == (p_value > 0.025)
        verdicts.add(found.verdict[:6])
    assert len(verdicts) > 1


def test_equal_runs_give_no_conclusion() -> None:
    """A variant that never took effect differs by exactly 0, which no number of seeds shows."""
    losses = by_seed([3.0, 3.1])
    found = compare_pairs(losses, losses, planned_seeds=[0, 1])
    assert found.interval == (0.0, 0.0)
    assert found.verdict.startswith("no conclusion")
    assert found.seeds_needed is None


@pytest.mark.parametrize("difference", [0.0, 1e-300, -1e-9])
def test_a_difference_of_about_0_needs_more_seeds_than_there_are(difference: float) -> None:
    """The search ends; a million pairs are just enough for 0.0028 deviations."""
    assert seeds_needed(difference, deviation=1.0) is None
    assert seeds_needed(0.0028, deviation=1.0) == pytest.approx(1e6, rel=0.01)


def test_a_constant_difference_needs_two_pairs() -> None:
    """Without spread the least number of pairs is enough."""
    assert seeds_needed(0.1, deviation=0.0) == 2


def test_pairs_without_two_losses_are_named() -> None:
    """A diverged run takes its pair out, and the verdict says so."""
    found = compare_pairs({0: 3.0, 2: 3.1}, by_seed([3.0, 3.2, 3.2]), planned_seeds=range(3))
    assert found.num_pairs == 2
    assert found.verdict.endswith("(only 2 of 3 planned pairs have two losses)")


@pytest.mark.parametrize(
    ("arm", "planned", "message"),
    [
        ({0: 3.0, 1: 3.0}, [0], "not among the planned"),
        ({0: 3.0}, [0, 1], "at least 2 pairs, not 1"),
        ({0: 3.0, 1: math.nan}, [0, 1], "not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    arm: dict[int, float], planned: list[int], message: str
) -> None:
    """Unplanned seeds, single pairs and diverged losses give no number."""
    with pytest.raises(ValueError, match=message):
        compare_pairs(arm, {0: 3.0, 1: 3.0}, planned_seeds=planned)


def test_the_noise_floor_is_the_spread_of_seeds() -> None:
    """Mean and deviation are the sample's; two independent runs differ by sqrt(2) as much."""
    losses = [3.0, 3.02, 2.98, 3.01, 2.99]
    found = measure_spread(losses)
    assert found.num_seeds == 5
    assert found.mean == pytest.approx(3.0)
    assert found.standard_deviation == pytest.approx(stats.tstd(losses))
    assert found.smallest_difference == pytest.approx(
        smallest_difference(5, deviation=math.sqrt(2) * float(stats.tstd(losses)))
    )
    assert difference_deviation(2.0, correlation=0.5) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="at least 2 seeds"):
        measure_spread([3.0])


def test_the_documents_error_is_the_spread_of_repeated_samples() -> None:
    """The error equals the deviation of the loss over many samples of documents, within 5 %."""
    random = np.random.default_rng(4)
    lengths = random.integers(20, 400, (4000, 100))
    level = random.normal(3.0, 0.5, (4000, 100))  # documents differ: their tokens are clusters
    sums = level * lengths + random.normal(0.0, 1.0, (4000, 100)) * np.sqrt(lengths)
    losses = sums.sum(axis=1) / lengths.sum(axis=1)
    errors = [cluster_standard_error(*pair) or 0.0 for pair in zip(sums, lengths, strict=True)]
    assert float(np.mean(errors)) == pytest.approx(float(losses.std()), rel=0.05)


def test_the_documents_error_of_equal_lengths_is_the_plain_one() -> None:
    """With documents of one length the ratio estimator is the standard error of a mean."""
    means = np.array([2.0, 3.0, 4.5])
    found = cluster_standard_error(means * 10, [10, 10, 10])
    assert found == pytest.approx(float(stats.sem(means)))
    assert cluster_standard_error([3.0], [1]) is None


def test_rules_and_power_are_told_in_words() -> None:
    """The lines that a sweep prints first name their numbers."""
    assert stopping_rule(3).startswith("3 seeds a side, fixed before the first training")
    assert correction_name(1) == "none"
    assert correction_name(5).endswith("5 comparisons: each interval is of 99.00 %")
    assert "no difference can be told" in power_statement(1, deviation=0.1)
    assert "show any difference" in power_statement(3, deviation=0.0)
    line = power_statement(5, deviation=0.01)
    assert f"{smallest_difference(5, deviation=0.01):.4f} nats with a power of 80%" in line
