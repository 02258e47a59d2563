"""From a line of output to its cells: columns, a regular expression, or JSON. Then to values."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence

from tpb_core.api import BadInput
from tpb_core.api.described import Column, parse_value

Cells = Callable[[str], Mapping[str, str] | None]
"""The cells of a line by the name of their source; None for a line that has none."""


def column_cells(separator: str) -> Cells:
    """Cells counted from 1, between separators (blanks when empty). Comment lines have none."""

    def cells(line: str) -> Mapping[str, str] | None:
        if line.startswith("#"):
            return None
        parts = line.split(separator) if separator else line.split()
        return {str(number): part for number, part in enumerate(parts, start=1)}

    return cells


def pattern_cells(pattern: str) -> Cells:
    """Named groups, and numbered groups by their number, of the first match in the line. Raises BadInput for a bad pattern."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise BadInput(f"meter.command.pattern={pattern!r} is no regular expression: {error}", "Python's re syntax.") from error
    if not compiled.groups:
        raise BadInput(f"meter.command.pattern={pattern!r} has no group", "Put the number into a group: 'power: (?P<power>[0-9.]+)'.")

    def cells(line: str) -> Mapping[str, str] | None:
        match = compiled.search(line)
        if match is None:
            return None
        numbered = {str(number): text for number, text in enumerate(match.groups(), start=1) if text is not None}
        return {**numbered, **{name: text for name, text in match.groupdict().items() if text is not None}}

    return cells


def json_cells(line: str) -> Mapping[str, str] | None:
    """Numbers and strings of a JSON object a line, nested ones by dotted path: `StatusSNS.ENERGY.Power`."""
    try:
        document = json.loads(line, parse_float=str, parse_int=str, parse_constant=lambda _: "nan")
    except (ValueError, RecursionError):
        return None
    found: dict[str, str] = {}
    pending: list[tuple[str, object, int]] = [("", document, 0)]
    while pending:
        path, value, depth = pending.pop()
        if isinstance(value, dict) and depth < 20:
            pending += [(f"{path}.{key}" if path else str(key), inner, depth + 1) for key, inner in value.items()]
        elif isinstance(value, list) and depth < 20:
            pending += [(f"{path}.{place}" if path else str(place), inner, depth + 1) for place, inner in enumerate(value)]
        elif isinstance(value, str):
            found[path] = value
        elif value is None:
            found[path] = ""
    return found or None


def values_of(cells: Mapping[str, str], columns: Sequence[Column], decimal: str) -> tuple[dict[str, float], dict[str, str]]:
    """(values in SI units by column name, what is wrong by column name). A cell that says `no value` is in neither."""
    values: dict[str, float] = {}
    problems: dict[str, str] = {}
    for column in columns:
        cell = cells.get(column.source)
        if cell is None:
            problems[column.name] = f"the output has no {column.source!r}"
            continue
        try:
            value = parse_value(cell, column, decimal)
        except ValueError as error:
            problems[column.name] = str(error)
            continue
        if value is not None and not (column.quantity.kind == "energy_counter" and value < 0):
            values[column.name] = value
        elif value is not None:
            problems[column.name] = f"{cell!r} is a negative energy"
    return values, problems
