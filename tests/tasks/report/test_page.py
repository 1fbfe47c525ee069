"""Tests of `tasks/report/page.py`."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tasks.report.blocks import Excerpt, Figure, NotRun, Origin, Report, Section, Table, Text
from tasks.report.figures.themed_svg import new_panel, series_color, standalone, to_svg
from tasks.report.page import numeric_columns, to_html, to_markdown
from tests.self_contained import check_page

HOSTILE = '<script>alert("x")</script> & "quotes"'


@pytest.fixture(scope="module")
def figure() -> Figure:
    """A panel with one line."""
    drawing, axes = new_panel("x", "y")
    axes.plot([0, 1], [0, 1], color=series_color(1))
    svg = to_svg(drawing, "line")
    return Figure(name="line", svg=svg, alt='a "line"', caption="A line.")


@pytest.fixture(scope="module")
def report(figure: Figure) -> Report:
    """A report with a block of each kind, and text that is no markup."""
    origin = Origin(command="owt report", lines=("train_lm/ab",))
    blocks = (
        Text(HOSTILE),
        Table(header=("name", "loss"), rows=((HOSTILE, "3.868 ± 0.012"),), origin=origin),
        Table(header=("", ""), rows=(("a|b", "c"),), caption="All trials.", is_folded=True),
        replace(figure, origin=origin),
        Excerpt(text="```\n" + HOSTILE, prompt="def ", title="A sample", note="2 tokens"),
        NotRun(what="the sweep", command="owt sweep seeds", why="No time."),
    )
    section = Section(key="all", title="All", finding="Found.", question="Why?", blocks=blocks)
    return Report(
        title="T", question="Q?", verdict="V.", facts=(("Corpus", "c"),), sections=(section,)
    )


def test_the_page_is_well_formed_and_needs_nothing_else(report: Report) -> None:
    """No script, no address outside, every tag closed, ids used once, both themes."""
    check_page(to_html(report))


def test_text_never_becomes_markup(report: Report) -> None:
    """What a model wrote or a file is called is escaped everywhere."""
    page = to_html(report)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3


def test_what_was_not_run_is_said_with_its_command(report: Report) -> None:
    """In both forms of the report."""
    assert "<b>Not run:</b> the sweep. No time." in to_html(report)
    assert "Not run: the sweep. No time.\n\n```\nowt sweep seeds\n```" in to_markdown(report)


def test_markdown_links_the_figures_and_fences_what_holds_fences(report: Report) -> None:
    """A sample with a fence in it does not end its own block, a bar does not end a cell."""
    text = to_markdown(report)
    assert '![a "line"](figures/line.svg)' in text
    assert "````\ndef ```" in text
    assert "| a\\|b | c |" in text
    assert "|---|---:|" in text


def test_columns_of_numbers_are_found() -> None:
    """A hash begins with a digit and is none."""
    table = Table(
        header=("a", "b", "c", "d"),
        rows=(("x", "1,024", "92e47a33", "–"), ("y", "1 min 5 s", "12", "+0.1 to +0.2")),
    )
    assert numeric_columns(table) == [False, True, False, True]


def test_figures_follow_the_theme(figure: Figure) -> None:
    """Every colour is a variable with the light one as fallback; a file has both palettes."""
    without_fallbacks = re.sub(r"var\(--[\w-]+, #[0-9a-f]{6}\)", "", figure.svg)
    assert not re.search(r"#[0-9a-fA-F]{6}\b", without_fallbacks)
    assert "var(--series-1, " in figure.svg
    assert "<metadata" not in figure.svg
    alone = standalone(figure.svg)
    assert "prefers-color-scheme: dark" in alone
    ElementTree.fromstring(alone)


def test_the_same_drawing_gives_the_same_bytes() -> None:
    """No date and no random id is in a figure."""
    found = set()
    for _ in range(2):
        drawing, axes = new_panel("x", "y")
        axes.plot([0, 1], [0, 1])
        found.add(to_svg(drawing, "same"))
    assert len(found) == 1
