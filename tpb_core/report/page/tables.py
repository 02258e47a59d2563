"""Tables and notes of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tpb_core.report.page.markup import Content, Element, tag
from tpb_core.report.rounding import MISSING

Cell = Element | str | None
_LONGEST_NAME = 24
"""Characters of a cell that is not broken: names of checks, domains and methods, not what a prompt or a device may have written."""


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]], *, numbers: Sequence[int] = ()) -> Element:
    """A table that scrolls sideways where it is wider than the page. Columns in `numbers` are aligned to the right; None is a dash."""

    def cell(kind: str, place: int, content: Cell) -> Element:
        name = isinstance(content, str) and len(content) <= _LONGEST_NAME
        return tag(kind, MISSING if content is None else content, class_="number" if place in numbers else "nowrap" if name else None)

    head = tag("thead", tag("tr", (cell("th", n, name) for n, name in enumerate(header))))
    body = tag("tbody", (tag("tr", (cell("td", n, content) for n, content in enumerate(row))) for row in rows))
    return tag("div", tag("table", head, body), class_="scroll", tabindex="0")


def section(anchor: str, title: str, *content: Content | Iterable[Content]) -> Element:
    """A section with its heading."""
    return tag("section", tag("h2", title), *content, id=anchor)


def figure(drawing: Element, *caption: Content) -> Element:
    """A picture with what it shows."""
    return tag("figure", drawing, tag("figcaption", *caption))


def legend(items: Iterable[tuple[str, str]]) -> Element:
    """`(class of the colour, meaning)` each."""
    return tag("p", (tag("span", tag("span", class_=f"key {key}"), name, class_="item") for key, name in items), class_="legend")


def folded(summary: str, *content: Content | Iterable[Content], open_: bool = False) -> Element:
    """Content behind a line that opens it; works without scripts."""
    return tag("details", tag("summary", summary), *content, open="" if open_ else None)


def note(text: str) -> Element:
    """A line of small print."""
    return tag("p", text, class_="soft small")
