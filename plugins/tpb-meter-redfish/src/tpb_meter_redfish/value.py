"""Numbers, stamps and links in a Redfish resource, from JSON that may hold anything."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence
from typing import Any

Pointer = tuple[str | int, ...]
_NUMBER = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?", re.ASCII)
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_EARLIEST = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
"""Controllers without a clock stamp with 1970 or 2000."""


def look(document: Any, pointer: Sequence[str | int]) -> Any:
    """What is at a place in a document; None where the place is not there."""
    for step in pointer:
        if isinstance(document, dict) and isinstance(step, str):
            document = document.get(step)
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            document = document[step]
        else:
            return None
    return document


def number(document: Any, pointer: Sequence[str | int]) -> float | None:
    """A number that is not negative; None where there is none (absent, null). Raises ValueError for anything else.

    Some controllers write numbers as text; a plain number in text is taken, anything that could be read in two ways is not.
    """
    value = look(document, pointer)
    place = ".".join(str(step) for step in pointer)
    if value is None:
        return None
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{place} is {str(value)[:40]!r}, no number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result) or result < 0:
        raise ValueError(f"{place} is {str(value)[:40]}")
    return result


def stamp_ns(document: Any, pointer: Sequence[str | int]) -> int | None:
    """A date with its offset from UTC, in ns since 1970 of the service's clock; None where there is no such date."""
    value = look(document, pointer)
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.datetime.fromisoformat(value)
        if moment.tzinfo is None or moment < _EARLIEST:
            return None
        since = moment - _EPOCH
    except (ValueError, OverflowError):
        return None
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000


def link(document: Any, *pointer: str | int) -> str | None:
    """The path that a reference (`{"@odata.id": ...}`) points at."""
    value = look(document, (*pointer, "@odata.id"))
    return value if isinstance(value, str) and value.startswith("/") else None


def text(document: Any, *pointer: str | int) -> str:
    """A string; empty where there is none."""
    value = look(document, pointer)
    return value if isinstance(value, str) else ""
