"""Answers to problems of the course that no run of ours holds: computed when the page is made."""

from tasks.report.blocks import Figure, Origin, Section, Table, Text
from tasks.report.figures.themed_svg import EndLabel, label_ends, new_panel, series_color, to_svg
from tasks.report.wording import count

REPORT = Origin(command="owt report --course")
"""Where the numbers of this file come from: they are computed for each report anew."""


def null_character_answer() -> Section:
    """Answer `unicode1`."""
    from tokenizer.unicode_answers import null_character

    found = null_character()
    shown = "a terminal shows nothing for it" if not found.is_printable else "a terminal shows it"
    rows = (
        ("chr(0)", f"{found.code_point}, category {found.category}: a control character"),
        ("its representation", found.representation),
        ("printed", shown),
        ("in a text", f"{found.text}: {found.text_length} characters, one of which is not seen"),
    )
    return Section(
        key="",
        title="",
        finding=f"chr(0) is {found.code_point}; repr writes {found.representation}, print nothing.",
        blocks=(Table(header=("", ""), rows=rows, origin=REPORT),),
    )


def encodings_answer() -> Section:
    """Answer `unicode2`."""
    from tokenizer.unicode_answers import encoding_sizes, undecodable_pairs, wrong_decoding

    sizes, wrong, pairs = encoding_sizes(), wrong_decoding(), undecodable_pairs()
    shortest = [
        name
        for name, found in sizes.items()
        if found[0].num_bytes < min(size.num_bytes for size in found[1:])
    ]
    encodings = [size.encoding for size in next(iter(sizes.values()))]
    rows = tuple(
        (name, *(f"{size.num_bytes} ({size.num_zero_bytes} zero)" for size in found))
        for name, found in sizes.items()
    )
    return Section(
        key="",
        title="",
        finding=f"UTF-8 is the shortest for {', '.join(shortest)}, and has no zero bytes.",
        blocks=(
            Table(
                header=("bytes of a text", *encodings),
                rows=rows,
                caption="(a) UTF-16 and UTF-32 carry zero bytes, which a tokenizer would learn.",
                origin=REPORT,
            ),
            Text(
                f"(b) Decoding byte by byte is right for {count(wrong.num_right)} of the first "
                f"{count(wrong.num_right + wrong.num_wrong)} characters and fails on the others, "
                f"first on {wrong.example!r} ({wrong.example_bytes!r}): {wrong.error}."
            ),
            Text(
                f"(c) {pairs.example!r} is no text: {pairs.error}. "
                f"Of {count(pairs.num_pairs)} pairs of bytes, {count(pairs.num_decodable)} are."
            ),
        ),
    )


def toy_answer() -> Section:
    """Answer `learning_rate_tuning`."""
    from lm.optim.toy_sgd import toy_runs

    runs = toy_runs()
    drawing, axes = new_panel("steps", "loss")
    axes.set_yscale("log")
    for number, run in enumerate(runs):
        axes.plot(range(len(run.losses)), run.losses, "o-", color=series_color(number))
    ends = [
        EndLabel(run.losses[-1], f"rate {run.learning_rate:g}", series_color(number))
        for number, run in enumerate(runs)
    ]
    label_ends(axes, ends)
    figure = Figure(
        name="toy-sgd",
        svg=to_svg(drawing, "toy-sgd"),
        alt="Loss of the toy problem at three learning rates.",
        caption="Ten steps of gradient descent on the mean of squares.",
        origin=REPORT,
    )
    rows = tuple(
        (f"{run.learning_rate:g}", f"{run.losses[0]:.4g}", f"{run.losses[-1]:.4g}", run.verdict)
        for run in runs
    )
    table = Table(
        header=("learning rate", "first loss", "last loss", "verdict"), rows=rows, origin=REPORT
    )
    words = ", ".join(f"{run.learning_rate:g} {run.verdict}" for run in runs)
    return Section(key="", title="", finding=f"{words}.", blocks=(figure, table))
