"""Section: what the model writes, at several temperatures and nuclei, and how repetitive it is."""

from collections.abc import Callable, Sequence

from artifacts.record import JsonObject
from lm.data.repetition import repeated_share
from tasks.report.blocks import Block, Excerpt, NotRun, Section, Table
from tasks.report.evidence import Evidence, Generation, origin_of
from tasks.report.sections.progress import progress_blocks
from tasks.report.wording import count, rate, share

_SHOWN = 4
"""Settings whose samples are shown as text; the table has all."""


def generations_section(evidence: Evidence) -> Section:
    """Show samples of fixed prompts with their statistics, the run's own settings first."""
    found = evidence.generations
    if not found:
        command = f"owt run --only generate {evidence.settings.arguments}"
        missing = NotRun(what="the samples", command=command)
        return Section(key="samples", title="Samples", blocks=(missing,))
    blocks: list[Block] = [*progress_blocks(evidence), _table(evidence, found)]
    for generation in _varied(found)[:_SHOWN]:
        blocks += [_excerpt(generation, sample) for sample in _first_of_each_prompt(generation)]
    if len(found) == 1:
        blocks.append(
            NotRun(
                what="samples at other temperatures and top-p",
                command=f"owt report {evidence.settings.arguments}",
            )
        )
    return Section(key="samples", title="Samples", finding=_finding(found), blocks=tuple(blocks))


def _finding(found: Sequence[Generation]) -> str:
    """Name the two factors that were varied, with what they change."""
    if len(found) == 1:
        return "Samples at one setting only, so nothing is said of what changes them."
    parts = [
        _effect(found, "temperature", lambda g: g.temperature, lambda g: (g.top_p, g.length)),
        _effect(found, "top-p", lambda g: g.top_p, lambda g: (g.temperature, g.length)),
    ]
    return " ".join(part for part in parts if part) or "No setting was varied alone."


def _effect(
    found: Sequence[Generation],
    name: str,
    varied: Callable[[Generation], float],
    held: Callable[[Generation], object],
) -> str:
    """Return a sentence: the share of different token pairs as one setting moves, others held."""
    groups: dict[object, list[Generation]] = {}
    for generation in found:
        groups.setdefault(held(generation), []).append(generation)
    widest = max(groups.values(), key=lambda group: len({varied(g) for g in group}))
    ordered = sorted(widest, key=varied)
    low, high = ordered[0], ordered[-1]
    if varied(low) == varied(high):
        return ""
    return (
        f"{name.capitalize()} {rate(varied(low))} to {rate(varied(high))}: different 2-grams "
        f"{share(_distinct(low, 2))} to {share(_distinct(high, 2))}."
    )


def _distinct(generation: Generation, n: int) -> float:
    return float(generation.record.statistics[f"distinct_{n}"])


def _table(evidence: Evidence, found: Sequence[Generation]) -> Table:
    rows = tuple(
        (
            rate(generation.temperature),
            rate(generation.top_p),
            count(generation.record.statistics["num_samples"]),
            count(_mean_length(generation)),
            *(share(_distinct(generation, n)) for n in (1, 2, 3)),
            share(repeated_share(_token_ids(generation.samples))),
            share(generation.record.statistics["seen_share"]),
        )
        for generation in sorted(found, key=lambda g: (g.temperature, g.top_p))
    )
    ngram = found[0].record.statistics["seen_ngram"]
    header = ("temperature", "top-p", "samples", "tokens, mean", "distinct-1", "distinct-2")
    return Table(
        header=(*header, "distinct-3", "repeats", f"{ngram}-grams of the training text"),
        rows=rows,
        caption="distinct-n: different n-grams over all n-grams of tokens (Li et al. 2016). "
        "Repeats: tokens whose 4-gram occurred before in the same sample. Same prompts, same "
        "seeds; a text ends at a special token.",
        origin=origin_of(f"owt report {evidence.settings.arguments}", [g.record for g in found]),
    )


def _token_ids(samples: Sequence[JsonObject]) -> list[list[int]]:
    return [sample["token_ids"] for sample in samples]


def _mean_length(generation: Generation) -> float | None:
    lengths = [len(sample["token_ids"]) for sample in generation.samples]
    return sum(lengths) / len(lengths) if lengths else None


def _varied(found: Sequence[Generation]) -> list[Generation]:
    """Return the run's own samples, then those whose temperature differs most from them."""
    own, *others = found
    others.sort(key=lambda g: (-abs(g.temperature - own.temperature), g.top_p))
    return [own, *others]


def _first_of_each_prompt(generation: Generation) -> list[JsonObject]:
    by_prompt: dict[str, JsonObject] = {}
    for sample in generation.samples:
        by_prompt.setdefault(sample["prompt"], sample)
    return list(by_prompt.values())


def _excerpt(generation: Generation, sample: JsonObject) -> Excerpt:
    repeats = repeated_share(_token_ids([sample]))
    return Excerpt(
        title=f"Temperature {rate(generation.temperature)}, top-p {rate(generation.top_p)}",
        prompt=str(sample["prompt"]),
        text=str(sample["text"]),
        note=f"{count(len(sample['token_ids']))} tokens, seed {sample['seed']}; "
        f"repeats {share(repeats)}",
    )
