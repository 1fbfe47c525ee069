"""Section: the same kind of model on several corpora, and how to read the difference."""

import math
from collections.abc import Sequence

from artifacts.record import JsonObject
from tasks.report.blocks import Block, Excerpt, Figure, NotRun, Section, Table, Text
from tasks.report.evidence import Evidence, origin_of
from tasks.report.figures.themed_svg import EndLabel, label_ends, new_panel, series_color, to_svg
from tasks.report.other_corpora import CorpusRun, shape_of
from tasks.report.sections.curves import series_of
from tasks.report.wording import count, loss, plain

COUNTERPARTS = {
    "tinystories": "owt run --preset openwebtext",
    "openwebtext": "owt run --preset tinystories",
}
"""The course's other corpus, with the same shape and as many steps."""


def corpora_section(evidence: Evidence) -> Section:
    """Show this run beside one on each other corpus of the store."""
    own = _own(evidence)
    if own is None or not evidence.others:
        return Section(key="corpora", title="Other corpora", blocks=(_missing(evidence),))
    runs = [own, *evidence.others]
    figures = [_figure(evidence, runs, in_bytes) for in_bytes in (False, True)]
    texts = [Text(text) for text in (_how_to_read(runs), _equal(runs), _why(runs)) if text]
    blocks: list[Block] = [*figures, _table(evidence, runs), *texts, *_samples(runs)]
    ends = ", ".join(f"{run.corpus} {_bits(run.evaluation):.3f}" for run in runs)
    return Section(
        key="corpora",
        title="Other corpora",
        finding=f"Bits a byte of the validation text: {ends}.",
        blocks=tuple(blocks),
    )


def _missing(evidence: Evidence) -> NotRun:
    settings = evidence.settings
    own_text = f"owt run {settings.arguments} --corpus FOLDER"
    return NotRun(
        what="a finished run on another corpus in the same store",
        command=COUNTERPARTS.get(settings.corpus, own_text),
        why="With one, this section shows both curves, in nats a token and in bits a byte.",
    )


def _own(evidence: Evidence) -> CorpusRun | None:
    """Return this report's run; None where it is not finished or has no bits a byte."""
    evaluated = evidence.records.get("evaluate")
    if evidence.model is None or evaluated is None or not evidence.generations:
        return None
    return CorpusRun(
        corpus=evidence.settings.corpus,
        model=evidence.model,
        evaluated=evaluated,
        evaluation=evidence.evaluation,
        metrics=evidence.metrics,
        samples=evidence.generations[0].samples,
    )


def _bits(evaluation: JsonObject) -> float:
    return float(evaluation["bits_per_byte"])


def bytes_per_token(evaluation: JsonObject) -> float:
    """Return the mean bytes of a token of the validation text, from its loss in both units."""
    return float(evaluation["loss"]) / math.log(2) / _bits(evaluation)


def _as_bits(run: CorpusRun, nats: float) -> float:
    """Turn nats a token of a run's vocabulary into bits a byte."""
    return nats / math.log(2) / bytes_per_token(run.evaluation)


def _figure(evidence: Evidence, runs: Sequence[CorpusRun], in_bytes: bool) -> Figure:
    unit = "bits a byte" if in_bytes else "nats a token"
    name = f"corpora-{unit.replace(' ', '-')}"
    drawing, axes = new_panel("training tokens", f"validation loss, {unit}")
    labels = []
    for number, run in enumerate(runs):
        valid = series_of(run.metrics, "valid/loss")
        per_step = float(run.model.statistics["tokens_seen"]) / max(run.model.statistics["step"], 1)
        losses = [_as_bits(run, value) if in_bytes else value for value in valid.values]
        tokens = [step * per_step for step in valid.steps]
        axes.plot(tokens, losses, "o-", color=series_color(number), markersize=3.5)
        labels += [EndLabel(losses[-1], run.corpus, series_color(number))] if losses else []
    axes.set_xlim(left=0)
    label_ends(axes, labels)
    compares = "These compare." if in_bytes else "These do not compare: the tokens are others."
    return Figure(
        name=name,
        svg=to_svg(drawing, name),
        alt=f"Sampled validation loss of each corpus against training tokens, in {unit}.",
        caption=f"Sampled validation loss in {unit}. {compares}",
        origin=origin_of(f"owt report {evidence.settings.arguments}", [run.model for run in runs]),
    )


def _table(evidence: Evidence, runs: Sequence[CorpusRun]) -> Table:
    columns = [_facts(run) for run in runs]
    return Table(
        header=("", *(run.corpus for run in runs)),
        rows=tuple((name, *(column[name] for column in columns)) for name in columns[0]),
        caption="On every token of each validation text. Entropies are those of the training "
        "tokens; in bits a byte, with the bytes that a token of the validation text has.",
        origin=origin_of(
            f"owt report {evidence.settings.arguments}",
            [record for run in runs for record in (run.model, run.evaluated)],
        ),
    )


def _facts(run: CorpusRun) -> dict[str, str]:
    found, size = run.evaluation, bytes_per_token(run.evaluation)
    tokens = float(run.model.statistics["tokens_seen"])
    unigram, bigram = float(found["unigram_entropy"]), float(found["bigram_entropy"])
    return {
        "vocabulary": count(run.model.config["model"]["vocab_size"]),
        "bytes a token": f"{size:.3f}",
        "training tokens": count(tokens),
        "training text, bytes, about": count(tokens * size),
        "loss, nats a token": loss(found["loss"]),
        "unigram entropy, nats a token": loss(unigram),
        "loss, bits a byte": f"{_bits(found):.3f}",
        "unigram entropy, bits a byte": f"{_as_bits(run, unigram):.3f}",
        "bigram entropy, bits a byte": f"{_as_bits(run, bigram):.3f}",
    }


def _how_to_read(runs: Sequence[CorpusRun]) -> str:
    sizes = ", ".join(
        f"{bytes_per_token(run.evaluation):.2f} bytes on {run.corpus}" for run in runs
    )
    return (
        "How to read it: each corpus has its own vocabulary, so a token is another amount of text "
        f"({sizes}). A loss a token compares within one column only; bits a byte compare "
        "between them, as bytes are the same everywhere."
    )


def _equal(runs: Sequence[CorpusRun]) -> str:
    """Say what besides the text is not equal."""
    own, *others = runs
    parts = []
    for run in others:
        differing = [
            f"{name} {plain(shape_of(run.model)[name])} instead of {plain(value)}"
            for name, value in shape_of(own.model).items()
            if shape_of(run.model).get(name, value) != value
        ]
        seen, asked = (int(r.model.statistics["tokens_seen"]) for r in (run, own))
        differing += [f"{count(seen)} instead of {count(asked)} training tokens"] * (seen != asked)
        rest = f"differs in {', '.join(differing)}" if differing else "is equal in all of these"
        parts.append(f"the run on {run.corpus} {rest}")
    return f"Shape apart from the vocabulary, and number of training tokens: {'; '.join(parts)}."


def _why(runs: Sequence[CorpusRun]) -> str:
    """Say why one corpus is harder than another at the same compute, with what was counted."""
    easy, *_, hard = sorted(runs, key=lambda run: _bits(run.evaluation))
    (hard_unigram, easy_unigram), (hard_bigram, easy_bigram) = (
        [_as_bits(run, float(run.evaluation[f"{name}_entropy"])) for run in (hard, easy)]
        for name in ("unigram", "bigram")
    )
    if hard_unigram <= easy_unigram:
        return ""
    return (
        f"Why {hard.corpus} has the higher loss: its text is harder to predict. Knowing how often "
        f"each token occurs leaves {hard_unigram:.2f} bits of each byte unknown there and "
        f"{easy_unigram:.2f} on {easy.corpus}; knowing how often each pair occurs leaves "
        f"{hard_bigram:.2f} and {easy_bigram:.2f}. A model of a given size and training removes a "
        "part of that. So more remains there, which one sees in the samples."
    )


def _samples(runs: Sequence[CorpusRun]) -> list[Excerpt]:
    return [
        Excerpt(
            title=f"{run.corpus}, its first sample",
            prompt=str(run.samples[0]["prompt"]),
            text=str(run.samples[0]["text"]),
        )
        for run in runs
        if run.samples
    ]
