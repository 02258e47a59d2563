"""The text of `dcgmi dmon`: headers that repeat, rows of entities, `N/A`, and a trailer when it is stopped. Pure parsing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tpb_meter_dcgm.fields import Field
from tpb_meter_dcgm.values import number_of

ENTITIES = {"GPU": "gpu", "CPU": "cpu"}
MOST_DIGITS = 5


class Row(NamedTuple):
    """One row: entity and its values in the order of the fields that were asked for; None where there is none."""

    kind: str
    number: int
    values: tuple[float | None, ...]


def is_header(line: str) -> bool:
    """The two header lines, which come again every 14 cycles."""
    return line.startswith("#") or line.split()[:1] == ["ID"]


def parse_row(line: str, fields: Sequence[Field]) -> Row | None:
    """A row, or None for headers, other entities (slices, links), messages, and rows with more or fewer columns than were asked for.

    Columns have no fixed place, so they are counted from the right; what is left of them has to be the entity and nothing else.
    """
    words = line.split()
    if is_header(line) or len(words) != 2 + len(fields) or words[0] not in ENTITIES:
        return None
    if not (words[1].isascii() and words[1].isdecimal() and len(words[1]) <= MOST_DIGITS):
        return None
    cells = words[2:]
    values = tuple(number_of(cell, whole=field.whole) for cell, field in zip(cells, fields, strict=True))
    if any(value is None and cell != "N/A" and not cell[0].isdigit() for value, cell in zip(values, cells, strict=True)):
        return None  # a sentence that happens to have as many words
    return Row(ENTITIES[words[0]], int(words[1]), values)
