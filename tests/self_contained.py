"""What every page of the report must be: whole, well-formed, and readable in both themes."""

import re
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree

VOID = {"meta", "link", "br", "hr", "img", "input", "area", "base", "col", "source"}


class Nesting(HTMLParser):
    """Notes tags that are not closed in order, and all ids."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an opened tag."""
        if tag not in VOID:
            self.open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag that closes itself."""
        del tag
        self._note(attrs)

    def handle_endtag(self, tag: str) -> None:
        """Note a closed tag."""
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.wrong.append(f"</{tag}> within {self.open[-3:]} at {self.getpos()}")

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.update([found["id"] or ""] if "id" in found else [])
        self.links += [
            value or "" for name, value in attrs if name in ("href", "xlink:href", "src")
        ]


def check_page(page: str) -> None:
    """Assert that a page is well-formed, takes nothing from elsewhere, and has both themes."""
    nesting = Nesting()
    nesting.feed(page)
    nesting.close()
    assert nesting.wrong == []
    assert nesting.open == []
    assert [name for name, count in nesting.ids.items() if count > 1] == []
    # Links lead to places of the page itself, and each place is there.
    assert {link[1:] for link in nesting.links} <= set(nesting.ids)
    assert all(link.startswith("#") for link in nesting.links)
    assert not re.search(r"<script|@import|url\((?!#)", page)
    assert "@media (prefers-color-scheme: dark)" in page
    for drawing in re.findall(r"<svg .*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(drawing)
