"""Which stages a run performs, demands or builds again: `--only`, `--from`, `--force`."""

from collections.abc import Sequence
from dataclasses import dataclass

from flows.config import nearest
from flows.stages import stage_ancestors


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
    ancestors = stage_ancestors()
    stages = list(ancestors)
    for name in filter(None, (only, start_from, *force)):
        if name not in ancestors:
            raise ValueError(f"unknown stage {name!r}; {nearest(name, stages)}")
    if only and start_from:
        raise ValueError(f"--only {only} and --from {start_from} exclude each other; take one")
    first = stages.index(start_from) if start_from else 0
    built = {only} if only else set(stages[first:])
    required = {stage for name in built for stage in ancestors[name]} - built
    if outside := sorted(set(force) - built):
        raise ValueError(f"--force {outside[0]} is outside the stages of this run: {sorted(built)}")
    return Selection(
        wanted=frozenset(built | required),
        required=tuple(sorted(required, key=stages.index)),
        force=tuple(force),
    )
