"""Numbers as DCGM writes them, and the blanks among them: values that stand for "not found", "not supported", "no permission"."""

from __future__ import annotations

import math
import re

BLANK_WHOLE = 0x7FFFFFFFFFFFFFF0
BLANK_FLOAT = 140737488355328.0
"""2**47. Blanks are these and the numbers just above them (+1 not found, +2 not supported, +3 no permission)."""

NUMBER = re.compile(r"[0-9]{1,20}(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?")


def number_of(text: str, *, whole: bool) -> float | None:
    """The value of a text; None for `N/A`, blanks, negative numbers and whatever is no number. Never raises."""
    if NUMBER.fullmatch(text) is None:
        return None
    return value_of(int(text) if text.isdecimal() else float(text), whole=whole)


def value_of(value: float | int | None, *, whole: bool) -> float | None:
    """The value, or None where it is a blank, negative, or not finite."""
    if value is None or not math.isfinite(value) or value < 0:
        return None
    if value >= (BLANK_WHOLE if whole and isinstance(value, int) else BLANK_FLOAT):
        return None
    return float(value)
