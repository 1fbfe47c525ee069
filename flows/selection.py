"""Which stages a run performs, demands or builds again: `--only`, `--from`, `--force`."""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.config import nearest

ANCESTORS: dict[str, tuple[str, ...]] = {
    "download": (),
    "count_pretokens": ("download",),
    "train_tokenizer": ("download", "count_pretokens"),
    "encode_shards": ("download", "count_pretokens", "train_tokenizer"),
    "train_lm": ("download", "count_pretokens", "train_tokenizer", "encode_shards"),
    "evaluate": ("download", "count_pretokens", "train_tokenizer", "encode_shards", "train_lm"),
    "generate": ("download", "count_pretokens", "train_tokenizer", "encode_shards", "train_lm"),
}
"""Every stage, in the order of the flow, with all stages that it builds on."""

STAGES = tuple(ANCESTORS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What a run does with each stage."""

    wanted: frozenset[str]
    """Stages that are performed or taken from the cache."""
    required: tuple[str, ...]
    """Of these, the ones that must be cached."""
    force: tuple[str, ...]
    """The ones that are built again though they are cached."""


def select_stages(*, only: str = "", start_from: str = "", force: Sequence[str] = ()) -> Selection:
    """Turn the command line's words into a selection.

    Raises:
        ValueError: A stage is unknown, or the words contradict each other.
    """
    for name in filter(None, (only, start_from, *force)):
        if name not in ANCESTORS:
            raise ValueError(f"unknown stage {name!r}; {nearest(name, STAGES)}")
    if only and start_from:
        raise ValueError(f"--only {only} and --from {start_from} exclude each other; take one")
    first = STAGES.index(start_from or STAGES[0])
    built = {only} if only else set(STAGES[first:])
    required = {stage for name in built for stage in ANCESTORS[name]} - built
    if outside := sorted(set(force) - built):
        raise ValueError(f"--force {outside[0]} is outside the stages of this run: {sorted(built)}")
    return Selection(
        wanted=frozenset(built | required),
        required=tuple(sorted(required, key=STAGES.index)),
        force=tuple(force),
    )
