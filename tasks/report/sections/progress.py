"""Table: what the model wrote at each validation of its training."""

from tasks.report.blocks import Block, Table
from tasks.report.evidence import Evidence
from tasks.report.wording import NOTHING, count, loss

MAX_ROWS = 8
"""Texts shown, spread over the training; the first and the last are among them."""


def progress_blocks(evidence: Evidence) -> tuple[Block, ...]:
    """Show how the text changes as the loss falls; nothing where the training kept no text."""
    found = evidence.progress
    if not found:
        return ()
    last = len(found) - 1
    chosen = sorted({round(last * row / (MAX_ROWS - 1)) for row in range(MAX_ROWS)})
    losses = {line["step"]: line["valid/loss"] for line in evidence.metrics if "valid/loss" in line}
    rows = tuple(
        (
            count(text.step),
            loss(losses.get(text.step)) if text.step in losses else NOTHING,
            text.text.strip(),
        )
        for text in (found[number] for number in chosen)
    )
    table = Table(
        header=("step", "validation loss", "what the model writes"),
        rows=rows,
        caption="Samples by step: at each validation the model continues the beginning of the "
        f"validation text, {found[0].prompt!r}, with the most likely token each time.",
        is_wide=True,
        origin=evidence.origin("run", ("train_lm",)),
    )
    return (table,)
