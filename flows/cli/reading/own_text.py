"""`--corpus`: a run on a text of the user's own, sized for it, with a word on what was chosen."""

import json
import sys
from collections.abc import Iterator, Sequence

import rich
from rich.markup import escape

from flows.config import RawConfig, parse_setting, resolve_config
from flows.explaining.sizing import fit_to_text, leave_given
from flows.presets import find_preset
from tasks.watching.progress import format_bytes

NO_PROMPT = 'generate.prompts=[""]'
"""Samples begin as a document does: a preset's prompts are of its own text."""


def own_text(
    corpus: str, preset: str, overlay: RawConfig | None, settings: Sequence[str]
) -> list[str]:
    """Return the settings of a run: those for the user's text, then the user's own.

    Raises:
        FileNotFoundError: The text is not there.
        ValueError: A setting is wrong.
    """
    if not corpus:
        return list(settings)
    from tasks.corpus.source import check_is_there, estimated_bytes, source_of

    chosen = [f"corpus.train={corpus}"]
    if parse_setting(chosen[0]) != {"corpus": {"train": corpus}}:  # it looks like a number
        chosen = [f"corpus.train={json.dumps(corpus, ensure_ascii=False)}"]
    resolved = resolve_config(find_preset(preset), overlay, [*chosen, *settings])
    check_is_there(resolved.corpus)
    size_bytes = estimated_bytes(source_of(resolved.corpus, "train"))
    given = {
        name
        for layer in (overlay or {}, *map(parse_setting, settings))
        for name in _field_names(layer)
    }
    fitting = {} if size_bytes is None else leave_given(fit_to_text(resolved, size_bytes), given)
    fitted = [f"{name}={value}" for name, value in fitting.items()]
    if "generate.prompts" not in given:
        fitted.append(NO_PROMPT)
    _describe(corpus, size_bytes, fitted, is_divided=not resolved.corpus.valid)
    return [*chosen, *fitted, *settings]


def _field_names(layer: RawConfig) -> Iterator[str]:
    for section, fields in layer.items():
        yield from (f"{section}.{name}" for name in fields)


def _describe(
    corpus: str, size_bytes: int | None, fitted: Sequence[str], *, is_divided: bool
) -> None:
    size = f", about {format_bytes(size_bytes)} of text" if size_bytes else ""
    lines = [f"{corpus}{size}"]
    if is_divided:
        lines.append("no corpus.valid: one document in 16 validates, by a hash of its content")
    if fitted:
        lines.append(f"chosen for it (--set changes it): {' '.join(fitted)}")
    for line in lines:
        rich.print(escape(line), file=sys.stderr)
