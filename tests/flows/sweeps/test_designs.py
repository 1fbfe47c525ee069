"""Tests of `flows/sweeps/designs.py` and of the rounds of trials that follow from a design."""

from dataclasses import replace

import pytest

from flows.config import PipelineConfig
from flows.presets import find_preset
from flows.sweeps.design import Design, Wishes, scaled_rates
from flows.sweeps.designs import SWEEPS, find_design
from flows.sweeps.effects import refuse_arms_without_effect
from flows.sweeps.trials import best_factors, final_round, overridden, tuning_round
from tasks.experiments.sweep_results import Trial


@pytest.fixture
def base() -> PipelineConfig:
    """The smoke preset: 300 steps of 16 x 128 tokens at a peak rate of 1e-2."""
    return find_preset("smoke")


def tuned(arm: str, loss: float | None, status: str = "finished") -> Trial:
    """A trial of a tuning, as far as the choice of the rate looks at it."""
    return Trial(label="", arm=arm, overrides={}, seed=0, status=status, valid_loss=loss)  # type: ignore[arg-type]  # a word of the four


def test_a_sweep_of_rates_moves_peak_and_end_and_both_peaks_of_muon(base: PipelineConfig) -> None:
    """One factor for all rates, so that the shape of the schedule stays."""
    design = find_design("learning-rate", base, Wishes(grid={"train_lm.max_learning_rate": [0.03]}))
    assert design.arms[0].overrides == {
        "train_lm.max_learning_rate": 0.03,
        "train_lm.min_learning_rate": 0.003,
    }
    muon = replace(base.train_lm, optimizer="muon")
    assert scaled_rates("train_lm", muon, 3.0)["train_lm.muon_learning_rate"] == 0.06


@pytest.mark.parametrize("hold", ["tokens", "steps"])
def test_batch_sizes_hold_tokens_or_steps_equal(base: PipelineConfig, hold: str) -> None:
    """The rate follows the square root; the design says what is held equal."""
    design = find_design("batch-size", base, Wishes(hold=hold))
    trials = final_round(design, base, best_factors(design, []))
    configs = [trial.config.train_lm for trial in trials]
    assert [config.batch_size for config in configs] == [1, 4, 16, 64]
    amounts = {
        config.max_steps * (config.batch_size if hold == "tokens" else 1) for config in configs
    }
    assert amounts == ({4800} if hold == "tokens" else {300})
    assert [config.max_learning_rate for config in configs] == [0.0025, 0.005, 0.01, 0.02]
    assert design.held_equal == ("614,400 tokens" if hold == "tokens" else "300 steps")
    assert configs[2] == base.train_lm  # shared with every other sweep


def test_each_side_is_tuned_before_it_is_compared(base: PipelineConfig) -> None:
    """Each arm has the same rates at the seed of the tuning; the pairs have other seeds."""
    design = find_design("ablations", base, Wishes(arms=["nope"], num_seeds=2))
    tuning = tuning_round(design, base)
    assert [(t.name.arm, t.name.seed) for t in tuning] == [("baseline", 0)] * 3 + [("NoPE", 0)] * 3
    losses = [(3.0, 2.0, 2.5), (2.9, 2.8, 2.7)]
    trials = [
        tuned(arm, loss)
        for arm, row in zip(("baseline", "NoPE"), losses, strict=True)
        for loss in row
    ]
    best = best_factors(design, trials)
    assert best == {"baseline": 1.0, "NoPE": 3.16228}
    final = final_round(design, base, best)
    assert [t.name.label for t in final] == [
        "baseline, rate 0.01, seed 1",
        "NoPE, rate 0.0316, seed 1",
        "baseline, rate 0.01, seed 2",
        "NoPE, rate 0.0316, seed 2",
    ]
    assert final[1].config.model.position == "none"
    assert final[1].config.train_lm.seed == 1


def test_a_side_without_a_finished_rate_is_not_compared(base: PipelineConfig) -> None:
    """A rate that diverged is never the best; an arm that always did has none."""
    design = find_design("optimizer", base, Wishes())
    trials = [tuned("AdamW", 3.0), tuned("AdamW", 2.0, "diverged"), tuned("AdamW", 4.0)]
    trials += [tuned("Muon", None, "diverged")] * 3
    assert best_factors(design, trials) == {"AdamW": 0.316228}


def test_every_combination_of_a_grid_is_a_trial(base: PipelineConfig) -> None:
    """The names say what differs."""
    wishes = Wishes(grid={"model.num_layers": [1, 2], "train_lm.weight_decay": [0.0, 0.1]})
    design = find_design("grid", base, wishes)
    assert [arm.name for arm in design.arms] == [
        "num_layers 1, weight_decay 0.0",
        "num_layers 1, weight_decay 0.1",
        "num_layers 2, weight_decay 0.0",
        "num_layers 2, weight_decay 0.1",
    ]


@pytest.mark.parametrize(
    ("kind", "wishes", "message"),
    [
        ("ablation", Wishes(), "unknown sweep 'ablation'; did you mean ablations?"),
        ("ablations", Wishes(arms=["rope"]), "unknown arm 'rope'; allowed: baseline, no RMSNorm"),
        ("grid", Wishes(), "needs --grid section.field=value,value"),
        ("weight-decay", Wishes(grid={"train_lm.eps": [1]}), "is along train_lm.weight_decay"),
        (
            "learning-rate",
            Wishes(grid={"train_lm.max_learning_rate": ["fast"]}),
            "max_learning_rate ('fast') must be a number",
        ),
        ("batch-size", Wishes(hold="time"), "hold ('time') must be tokens or steps"),
    ],
)
def test_wishes_that_no_sweep_can_meet_are_refused(
    base: PipelineConfig, kind: str, wishes: Wishes, message: str
) -> None:
    """With what is allowed."""
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        find_design(kind, base, wishes)


@pytest.mark.parametrize("kind", sorted(set(SWEEPS) - {"grid"}))
def test_every_sweep_has_trials_of_valid_configurations(base: PipelineConfig, kind: str) -> None:
    """No label occurs twice, and no two trials are the same."""
    design = find_design(kind, base, Wishes())
    planned = tuning_round(design, base)
    planned += final_round(design, base, {arm.name: 1.0 for arm in design.arms})
    assert len({trial.name.label for trial in planned}) == len(planned)
    assert len({str(trial.config) for trial in planned}) == len(planned)


def test_an_arm_that_changes_nothing_is_refused(base: PipelineConfig) -> None:
    """It would be reported as making no difference."""
    small = replace(base, model=replace(base.model, d_model=16, d_ff=32, num_layers=1))
    design = find_design("schedule", small, Wishes())
    refuse_arms_without_effect(design, small)
    constant = {"train_lm.min_learning_rate": small.train_lm.max_learning_rate}
    with pytest.raises(ValueError, match=r"the arm linear .* changes nothing"):
        refuse_arms_without_effect(_without(design, "WSD", "constant"), overridden(small, constant))


def _without(design: Design, *names: str) -> Design:
    return replace(design, arms=tuple(arm for arm in design.arms if arm.name not in names))
