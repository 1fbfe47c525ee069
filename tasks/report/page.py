"""A report as one self-contained HTML page, and as Markdown with its figures beside it."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tasks.report.blocks import Block, Excerpt, Figure, NotRun, Origin, Report, Table, Text
from tasks.report.figures.themed_svg import DARK, LIGHT, palette_css

TEMPLATES = Path(__file__).with_name("templates")

_QUANTITY = r"[-+−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?( ?(%|ms|s|min|h|[kMGTP]?B|[kMGTP]))?"
_NUMBER = re.compile(rf"{_QUANTITY}(( ±| to)? {_QUANTITY})*|–|not finite|")
"""A cell that belongs in a column of numbers."""


def to_html(report: Report) -> str:
    """Return the page: no address outside it, no script, light and dark."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["drawing"] = _drawing
    environment.filters["numeric_columns"] = numeric_columns
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.jinja").render(
        report=report,
        style=Markup(style),
        light=Markup(palette_css(LIGHT)),
        dark=Markup(palette_css(DARK)),
    )


def _drawing(figure: Figure) -> Markup:
    """Return the SVG of a figure as part of the page; `themed_svg.py` made it."""
    alt = Markup.escape(figure.alt)
    return Markup(figure.svg.replace("<svg ", f'<svg role="img" aria-label="{alt}" ', 1))


def is_number(cell: str) -> bool:
    """Tell whether a cell belongs in a column of numbers.

    >>> [is_number(cell) for cell in ("3.87 ± 0.13", "1 min 5 s", "+0.01 to +0.2", "92e47a33")]
    [True, True, True, False]
    """
    return _NUMBER.fullmatch(cell) is not None


def numeric_columns(table: Table) -> list[bool]:
    """Tell for each column whether all its cells are numbers."""
    columns = zip(*table.rows, strict=True) if table.rows else [() for _ in table.header]
    return [bool(column) and all(map(is_number, column)) for column in columns]


def to_markdown(report: Report) -> str:
    """Return the report as Markdown; its figures are files in `figures/`."""
    lines = [f"# {report.title}", "", f"**{report.question}**", "", report.verdict, ""]
    lines += [f"- {name}: {value}" for name, value in report.facts]
    lines += ["", *(f"> {note}" for note in report.notes)]
    for section in report.sections:
        lines += ["", f"## {section.title}"]
        lines += ["", f"*{section.question}*"] if section.question else []
        lines += ["", section.finding] if section.finding else []
        for block in section.blocks:
            lines += ["", *_markdown(block)]
    return "\n".join(lines).strip() + "\n"


def _markdown(block: Block) -> list[str]:
    match block:
        case Text():
            return [block.text]
        case Table():
            return _markdown_table(block)
        case Figure():
            image = f"![{block.alt}](figures/{block.name}.svg)"
            return [image, "", block.caption, *_markdown_origin(block.origin)]
        case Excerpt():
            note = ["", block.note] if block.note else []
            title = [f"{block.title}:", ""] if block.title else []
            return [*title, *_fenced(block.prompt + block.text), *note]
        case NotRun():
            why = f" {block.why}" if block.why else ""
            return [f"Not run: {block.what}.{why}", "", *_fenced(block.command)]


def _markdown_table(table: Table) -> list[str]:
    rules = ["---:" if numeric else "---" for numeric in numeric_columns(table)]
    rows = [[_cell(cell) for cell in row] for row in (table.header, *table.rows)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, f"|{'|'.join(rules)}|")
    caption = [table.caption, ""] if table.caption else []
    return [*caption, *lines, *_markdown_origin(table.origin)]


def _markdown_origin(origin: Origin | None) -> list[str]:
    if origin is None:
        return []
    return ["", f"Again: `{origin.command}`", *(f"- `{line}`" for line in origin.lines)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _fenced(text: str) -> list[str]:
    """Return a text between fences that are longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, text, fence]
