"""Tests of `tasks/report/sweep_sections.py` and `sweep_figures.py`, on made-up results."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from tasks.experiments.sweep_results import SWEEP_FORMAT, SweepResult
from tasks.report.blocks import Figure, NotRun, Table
from tasks.report.evidence import Evidence, read_sweep
from tasks.report.figures import sweep_figures
from tasks.report.sections.sweeps import arm_section, finding, sweep_section, sweep_sections
from tasks.report.sections.verdict import negative_section
from tests import made_up_sweeps
from tests.made_up_evidence import with_sweeps


def rows_of(blocks: Any) -> list[tuple[str, ...]]:
    """Return the rows of all tables."""
    return [row for block in blocks if isinstance(block, Table) for row in block.rows]


@pytest.mark.parametrize("make", made_up_sweeps.ALL)
def test_every_kind_of_sweep_has_figures_and_all_its_trials(
    make: Callable[[], SweepResult],
) -> None:
    """Whatever became of a trial, it is in the table."""
    result = make()
    section = sweep_section(with_sweeps(result), result.kind)
    assert any(isinstance(block, Figure) for block in section.blocks)
    names = {row[0] for row in rows_of(section.blocks)}
    assert {trial.label for trial in result.trials} <= names
    assert section.finding


@pytest.mark.parametrize("make", made_up_sweeps.ALL)
def test_a_result_is_read_as_it_was_written(make: Callable[[], SweepResult]) -> None:
    """The stage `sweep` writes it with the number of its form."""
    written = json.loads(json.dumps({"format": SWEEP_FORMAT, **asdict(make())}))
    assert read_sweep(written) == make()


def test_the_best_rate_is_related_to_the_first_that_diverges() -> None:
    """The edge of stability is in the line that is read first."""
    assert finding(made_up_sweeps.rates()) == (
        "Best peak learning rate of those tried: 0.01, with a loss of 4.600 ± 0.050. "
        "The first that diverged is 1, 100 times the best."
    )


def test_a_best_value_at_the_edge_says_so() -> None:
    """Batches were tried up to the best one, as the next did not fit."""
    assert "edge of what was tried" in finding(made_up_sweeps.batches())


def test_a_diverged_trial_tells_where_and_at_which_rate() -> None:
    """Step, rate and last finite loss are the result of such a run."""
    section = sweep_section(with_sweeps(made_up_sweeps.rates()), "learning-rate")
    (lost,) = [row for row in rows_of(section.blocks) if row[0] == "rate 1"]
    assert "diverged in step 54 at a rate of 1, last finite loss 12.500" in lost


def test_comparisons_keep_their_verdicts() -> None:
    """An interval that holds 0 is no conclusion."""
    section = sweep_section(with_sweeps(made_up_sweeps.arms()), "ablations")
    verdicts = {row[0]: row[-1] for row in rows_of(section.blocks) if row[1] == "baseline"}
    assert verdicts["SiLU"].startswith("no conclusion")
    assert verdicts["NoPE"].startswith("worse")
    assert verdicts["no RMSNorm"].startswith("better")
    assert section.finding == (
        "Against baseline: NoPE +0.123 (worse), SiLU +0.007 (no conclusion), "
        "no RMSNorm -0.203 (better)."
    )


def test_one_arm_can_be_asked_for() -> None:
    """The course asks about each variant on its own."""
    section = arm_section(with_sweeps(made_up_sweeps.arms()), "NoPE")
    trials = {row[0] for row in rows_of(section.blocks) if ", seed" in row[0]}
    assert len(trials) == 6  # the arm's and the baseline's
    (missing,) = arm_section(with_sweeps(made_up_sweeps.arms()), "post-norm").blocks
    assert isinstance(missing, NotRun)


def test_a_sweep_that_was_not_run_gives_its_command() -> None:
    """All kinds that the command line knows are on the page."""
    evidence = with_sweeps(made_up_sweeps.floor())
    sections = {section.key: section for section in sweep_sections(evidence)}
    assert list(sections) == ["sweep-learning-rate", "sweep-seeds"]
    (missing,) = sections["sweep-learning-rate"].blocks
    assert missing == NotRun(
        what="the sweep learning-rate", command="owt sweep learning-rate --preset smoke"
    )


def test_losses_of_several_seeds_give_mean_and_error() -> None:
    """Over seeds where there are several, over documents for a single one."""
    trials = made_up_sweeps.floor().trials
    mean, error = sweep_figures.mean_and_error(trials) or (0.0, 0.0)
    assert mean == pytest.approx((4.6 + 4.62 + 4.57) / 3)
    assert error == pytest.approx(0.0145297, rel=1e-4)
    assert sweep_figures.mean_and_error(trials[:1]) == (4.6, 0.05)
    assert sweep_figures.mean_and_error([replace(trials[0], status="diverged")]) is None


def test_negative_results_are_listed() -> None:
    """Lost trials, and variants that do not help."""
    evidence: Evidence = with_sweeps(*(make() for make in made_up_sweeps.ALL))
    rows = {row[0]: row[1] for row in rows_of(negative_section(evidence).blocks)}
    assert rows["learning-rate, rate 1"] == "diverged"
    assert rows["batch-size, batch 4096"] == "out of memory"
    assert rows["SiLU against baseline, stdlib"].startswith("+0.007 nats: no conclusion")
    assert "no RMSNorm against baseline, stdlib" not in rows


def test_a_sweep_says_in_what_its_trials_began_otherwise() -> None:
    """A sweep of short trainings beside a long run must not pass for the same."""
    sweep = made_up_sweeps.floor()
    shown = with_sweeps(sweep)
    own = shown.settings.config
    shorter = {**own, "train_lm": {**own["train_lm"], "max_steps": 100}}
    for settings, words in (
        ({}, "did not keep what its trials started from"),
        (own, "the settings are those of this report's run"),
        (shorter, "all trials have train_lm.max_steps 100 instead of 300."),
    ):
        section = sweep_section(with_sweeps(replace(sweep, settings=settings)), "seeds")
        assert words in str(section.blocks)
