"""Markdown tables and blocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table as lines, with an empty line after it; none where there are no rows."""
    body = [list(row) for row in rows]
    if not body:
        return []
    return [*(_line(row) for row in (header, ["---"] * len(header), *body)), ""]


def indented(text: str) -> list[str]:
    """A block of preformatted text."""
    return ["```text", *(line.rstrip() for line in text.strip("\n").splitlines()), "```", ""]


def code(text: str) -> str:
    """A name in code type; nothing for nothing."""
    return f"`{text}`" if text else ""


def first_sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring in one line."""
    paragraph = (docstring or "").strip().split("\n\n")[0]
    return " ".join(paragraph.split())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
