"""Section: the loss on the whole validation set, and where it is high."""

from collections.abc import Sequence

from artifacts.record import JsonObject
from tasks.report.blocks import Block, Figure, NotRun, Section, Table
from tasks.report.evidence import Evidence
from tasks.report.figures.themed_svg import INK, log_ticks, new_panel, series_color, to_svg
from tasks.report.sections.data_card import entropies
from tasks.report.wording import NOTHING, count, loss, share, short


def losses_section(evidence: Evidence) -> Section:
    """Give the loss to quote, and the loss by position, by document and by frequency."""
    facts = evidence.evaluation
    if not facts:
        command = f"owt run --only evaluate {evidence.settings.arguments}"
        missing = NotRun(what="the evaluation", command=command)
        return Section(key="loss", title="Validation loss", blocks=(missing,))
    blocks: list[Block] = [_headline(evidence), _by_position(evidence)]
    if lengths := facts.get("loss_by_document_length"):
        blocks.append(_by_length(evidence, lengths))
    if frequencies := facts.get("loss_by_token_count"):
        blocks += [_by_frequency(evidence, frequencies), _shares(evidence, frequencies)]
    error = facts.get("standard_error_over_documents")
    finding = (
        f"{loss(facts['loss'], error)} nats a token over all {count(facts['num_tokens'])} tokens "
        f"of the validation set; {_bits(facts)} bits a byte."
    )
    return Section(key="loss", title="Validation loss", finding=finding, blocks=tuple(blocks))


def _bits(facts: JsonObject) -> str:
    bits = facts.get("bits_per_byte")
    return NOTHING if bits is None else f"{bits:.3f}"


def _headline(evidence: Evidence) -> Table:
    facts = evidence.evaluation
    unigram, bigram = entropies(evidence)
    errors = (facts.get("standard_error"), facts.get("standard_error_over_documents"))
    by_window, by_document = (NOTHING if error is None else f"{error:.4f}" for error in errors)
    rows = (
        ("loss, nats a token", f"{facts['loss']:.4f}"),
        ("its standard error over documents", by_document),
        ("its standard error over windows", by_window),
        ("perplexity", f"{facts['perplexity']:.2f}"),
        ("bits a byte", _bits(facts)),
        ("unigram entropy of the training tokens", unigram),
        ("bigram entropy of the training tokens", bigram),
        ("tokens predicted", count(facts["num_tokens"])),
        ("context", count(facts["context_length"])),
    )
    return Table(
        header=("", ""),
        rows=rows,
        caption="A loss below the unigram entropy means that the model uses the token before; "
        "one below the bigram entropy, that it uses more than that.",
        origin=evidence.origin("run --only evaluate", ("evaluate", "train_lm")),
    )


def _by_position(evidence: Evidence) -> Figure:
    values = evidence.evaluation["loss_by_position"]
    drawing, axes = new_panel("tokens seen before", "loss, nats a token")
    axes.plot(range(1, len(values) + 1), values, color=series_color(0), linewidth=1.1)
    log_ticks(axes, [2**power for power in range(len(values).bit_length())])
    return Figure(
        name="loss-by-position",
        svg=to_svg(drawing, "loss-by-position"),
        alt="Mean loss at each position of the context.",
        caption="Loss by position: it falls for as long as more context helps.",
        origin=evidence.origin("run --only evaluate", ("evaluate",)),
    )


def _bars(name: str, x_label: str, groups: Sequence[JsonObject], names: list[str]) -> str:
    drawing, axes = new_panel(x_label, "loss, nats a token")
    values = [float(group["loss"]) for group in groups]
    bars = axes.bar(range(len(groups)), values, width=0.72, color=series_color(0))
    texts = [f"{value:.2f}" for value in values]
    axes.bar_label(bars, texts, padding=2, fontsize=8.5, color=INK)
    axes.set_xticks(range(len(groups)), names)
    axes.set_ylim(0, 1.1 * max(values))
    return to_svg(drawing, name)


def _by_length(evidence: Evidence, groups: Sequence[JsonObject]) -> Figure:
    lowers = [int(group["lower"]) for group in groups]
    names = [f"{lower // 1024}Ki" if lower >= 1024 else str(lower) for lower in lowers]
    return Figure(
        name="loss-by-document-length",
        svg=_bars("loss-by-document-length", "tokens of the document, at least", groups, names),
        alt="Mean loss by the length of the document.",
        caption="Loss by document: each group is up to twice as long as the one before.",
        origin=evidence.origin("run --only evaluate", ("evaluate",)),
    )


def _by_frequency(evidence: Evidence, groups: Sequence[JsonObject]) -> Figure:
    names = ["never" if group["upper"] == 1 else short(group["lower"]) for group in groups]
    label = "occurrences in the training text, at least"
    return Figure(
        name="loss-by-token-frequency",
        svg=_bars("loss-by-token-frequency", label, groups, names),
        alt="Mean loss by how often the token occurs in the training text.",
        caption="Loss by how often the token occurs in the training text.",
        origin=evidence.origin("run --only evaluate", ("evaluate",)),
    )


def _shares(evidence: Evidence, groups: Sequence[JsonObject]) -> Table:
    """Say which frequencies the loss is made of."""
    num_tokens = sum(group["num_tokens"] for group in groups)
    total = sum(group["num_tokens"] * group["loss"] for group in groups)
    rows = tuple(
        (
            "never" if group["upper"] == 1 else f"{count(group['lower'])} and more",
            count(group["num_tokens"]),
            share(group["num_tokens"] / num_tokens),
            loss(group["loss"]),
            share(group["num_tokens"] * group["loss"] / total),
        )
        for group in groups
    )
    return Table(
        header=("occurrences in training", "tokens", "of all", "loss", "of the whole loss"),
        rows=rows,
        origin=evidence.origin("run --only evaluate", ("evaluate",)),
    )
