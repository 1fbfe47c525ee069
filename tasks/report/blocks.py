"""What a report is made of, as plain data: sections of text, tables, figures and excerpts.

The sections are written once, and `page.py` turns them into HTML and into Markdown.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where the numbers of a table or a figure come from, and how to get them again."""

    command: str
    lines: tuple[str, ...] = ()
    """One line an artifact: place, fingerprint, code, machine, date."""


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of words and numbers; a column of numbers is set flush right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    origin: Origin | None = None
    is_folded: bool = False
    """Shown when the reader opens it; its caption is what is seen before."""
    is_wide: bool = False
    """Takes the whole width of the page, though it has few columns."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A drawing with its caption."""

    name: str
    """Of its file, without suffix; no two figures of a report share one."""
    svg: str
    alt: str
    """What the figure shows, for those who do not see it."""
    caption: str
    origin: Origin | None = None
    is_wide: bool = False
    """Takes the whole width of the page; scrolls on a narrow screen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Excerpt:
    """A text that a model wrote or a program printed, kept line by line."""

    text: str
    prompt: str = ""
    """How the text begins, where that was given."""
    title: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotRun:
    """Something that the report would show, had it been run."""

    what: str
    command: str
    why: str = ""


Block = Text | Table | Figure | Excerpt | NotRun


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One subject."""

    key: str
    """Anchor in the page."""
    title: str
    finding: str = ""
    """What was found, in one line."""
    question: str = ""
    """The course's question that it answers, in our words."""
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """The whole report."""

    title: str
    question: str
    verdict: str
    facts: tuple[tuple[str, str], ...]
    """Name and value of what a reader must know first: corpus, model, tokens, machine."""
    notes: tuple[str, ...] = ()
    """What limits the numbers, said before them."""
    sections: tuple[Section, ...] = field(default=())

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures, in the order of the page."""
        blocks = [block for section in self.sections for block in section.blocks]
        return tuple(block for block in blocks if isinstance(block, Figure))
