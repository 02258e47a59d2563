"""Axes: from values to places in a picture, with ticks at round numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.report.rounding import significant

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` at places from `begin` to `end` (in units of the picture; `end` may be the smaller one)."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The place of a value."""
        return float(self.places(np.array([value]))[0])

    def places(self, values: Floats) -> Floats:
        """The places of values."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.logarithmic else (self.low, self.high)
        scaled = np.log10(values) if self.logarithmic else values
        return np.asarray(self.begin + (scaled - low) / ((high - low) or 1.0) * (self.end - self.begin))

    def ticks(self, most: int = 8) -> list[float]:
        """Round values within the axis."""
        if self.logarithmic:
            found = _decades(self.low, self.high, (1.0, 2.0, 5.0))
            return found if len(found) <= most else _decades(self.low, self.high, (1.0,))
        step = _round_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [n * step for n in range(first, last + 1)]

    def labels(self, most: int = 8) -> list[tuple[float, str]]:
        """Ticks with their texts."""
        ticks = self.ticks(most)
        if self.logarithmic:
            return [(tick, f"{tick:g}") for tick in ticks]
        step = _round_step((self.high - self.low) / most)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        if decimals > 6 or max(abs(self.low), abs(self.high)) >= 1e9:
            return [(tick, significant(tick, 3)) for tick in ticks]
        return [(tick, f"{tick + 0.0:,.{decimals}f}") for tick in ticks]


def axis_of(low: float, high: float, begin: float, end: float, *, from_zero: bool = False, margin: float = 0.05) -> Axis:
    """An axis that holds the values with a margin; `from_zero` takes zero in and leaves no margin there."""
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) or abs(high) or 1.0
    return Axis(
        low if from_zero and low == 0.0 else low - margin * room, high if from_zero and high == 0.0 else high + margin * room, begin, end
    )


def _round_step(rough: float) -> float:
    if not rough > 0 or not math.isfinite(rough):
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))


def _decades(low: float, high: float, factors: tuple[float, ...]) -> list[float]:
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    values = [factor * 10.0**exponent for exponent in exponents for factor in factors]
    return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
