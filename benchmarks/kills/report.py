"""The campaign's log as tables: kills by stage and signal, and what was found."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the chains of a log; a line that was cut off by a kill is left out."""
    chains = []
    for line in path.read_text().splitlines():
        try:
            chains.append(json.loads(line))
        except ValueError:
            continue
    return chains


def as_table(chains: Sequence[dict[str, Any]]) -> str:
    """Return Markdown: how many chains, kills by stage and signal, kills by what was under way."""
    kills = [kill for chain in chains for kill in chain["kills"]]
    problems = sum(bool(chain["problems"]) for chain in chains)
    mended = sum("mended" in chain for chain in chains)
    signals = sorted({kill["signal"] for kill in kills})
    rows = [("stage", *signals)]
    counts = Counter((kill["stage"], kill["signal"]) for kill in kills)
    for stage in sorted({kill["stage"] for kill in kills}):
        rows.append((stage or "before", *(str(counts[stage, name]) for name in signals)))
    what = Counter(kill["what"] for kill in kills)
    chosen = sum(kill["chosen"] for kill in kills)
    summary = (
        f"{len(chains)} chains, {len(kills)} kills ({chosen} before a chosen change to the "
        f"disk, the others at a random time), {problems} chains with a problem, {mended} of them "
        "mended since."
    )
    kinds = [("under way", "kills"), *((name, str(count)) for name, count in what.most_common())]
    return "\n\n".join((summary, _markdown(rows), _markdown(kinds)))


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * lines[0].count(" | ") + "---|", *lines[1:]])
