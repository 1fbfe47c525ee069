"""Which stages run: everything, one, a tail, and what each demands."""

import pytest

from flows.selection import select_stages
from flows.stages import stage_ancestors

ANCESTORS = stage_ancestors()
STAGES = tuple(ANCESTORS)


def test_everything_runs_by_default() -> None:
    """Nothing is demanded to be there."""
    selection = select_stages()
    assert selection.wanted == set(STAGES)
    assert selection.required == ()


def test_only_one_stage_demands_its_ancestors_and_nothing_else() -> None:
    """The evaluation is no ancestor of the samples."""
    selection = select_stages(only="generate")
    assert selection.required == ANCESTORS["generate"]
    assert selection.wanted == {"generate", *ANCESTORS["generate"]}


def test_from_a_stage_runs_what_follows_it() -> None:
    """What comes before must be cached."""
    selection = select_stages(start_from="train_lm", force=["evaluate"])
    assert selection.wanted == set(STAGES)
    assert selection.required == ANCESTORS["train_lm"]
    assert selection.force == ("evaluate",)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"only": "train"}, r"unknown stage 'train'; did you mean train_lm\?"),
        ({"only": "evaluate", "start_from": "generate"}, "exclude each other"),
        ({"only": "evaluate", "force": ["generate"]}, "outside the stages of this run"),
    ],
)
def test_words_that_make_no_sense_are_refused(words: dict[str, object], message: str) -> None:
    """The message names the nearest stage, or the contradiction."""
    with pytest.raises(ValueError, match=message):
        select_stages(**words)  # type: ignore[arg-type] # the words of several options
