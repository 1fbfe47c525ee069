"""Options that several commands share, and what becomes of them."""

from flows.cli.options import typed, with_budget
from flows.config import resolve_config
from flows.presets import LEADERBOARD, find_preset


def test_a_budget_of_minutes_is_a_setting_and_wins() -> None:
    """It is in the command that resumes a run, too."""
    settings = with_budget(["train_lm.max_minutes=3"], 0.5)
    config = resolve_config(find_preset(LEADERBOARD), None, settings)
    assert config.train_lm.max_minutes == 0.5
    assert typed("run", LEADERBOARD, None, settings).endswith("--set train_lm.max_minutes=0.5")
    assert with_budget(None, None) == []
