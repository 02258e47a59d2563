"""Numbers for people: no more digits than the uncertainty supports. Stored values are never rounded."""

from __future__ import annotations

import math

MISSING = "—"


def significant(value: float, digits: int) -> str:
    """A number with that many significant digits and no exponent between 1e-6 and 1e9."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    if not 1e-6 <= abs(rounded) < 1e9:
        return f"{rounded:.{digits - 1}e}"
    return f"{rounded:,.{max(decimals, 0)}f}"


def decimals_of(half_width: float) -> int:
    """Decimals at which a half width shows two significant digits (JCGM 100, 7.2.6). May be negative: tens, hundreds."""
    return 1 - math.floor(math.log10(half_width))


def with_interval(value: float, low: float | None, high: float | None) -> tuple[str, str]:
    """Value and interval as texts, both rounded to two significant digits of the half width; three digits where there is no interval."""
    if low is None or high is None or not high > low:
        return significant(value, 3), MISSING
    decimals = decimals_of((high - low) / 2)
    shown = max(decimals, 0)
    texts = [f"{round(number, decimals) + 0.0:,.{shown}f}" for number in (value, low, high)]  # + 0.0: no negative zero
    if shown > 9:
        return significant(value, 3), f"{significant(low, 3)} to {significant(high, 3)}"
    return texts[0], f"{texts[1]} to {texts[2]}"


def span(low: float, high: float) -> str:
    """A range that is only an estimate: one digit each, so that nobody takes it for more."""
    return f"{significant(low, 1)} to {significant(high, 1)}"
