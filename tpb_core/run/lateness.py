"""How late readings were, in constant memory: a histogram with bins one tenth of a decade wide from 1 microsecond to 1000 seconds."""

from __future__ import annotations

import math

_BINS_PER_DECADE = 10
_DECADES = 9


class Lateness:
    """Counts of delays. Quantiles are upper edges of their bins, at most 26 % too high, except the maximum, which is exact."""

    def __init__(self) -> None:
        self._counts = [0] * (_BINS_PER_DECADE * _DECADES + 1)
        self.count = 0
        self.max_ns = 0

    def add(self, late_ns: int) -> None:
        """Count one reading that began `late_ns` after it was due."""
        self.count += 1
        self.max_ns = max(self.max_ns, late_ns)
        position = 0 if late_ns < 1_000 else int(math.log10(late_ns / 1_000) * _BINS_PER_DECADE) + 1
        self._counts[min(position, len(self._counts) - 1)] += 1

    def quantile_ms(self, share: float) -> float | None:
        """The delay in ms that `share` of the readings did not exceed; None without readings."""
        if not self.count:
            return None
        wanted, seen = share * self.count, 0
        for position, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return min(10 ** (position / _BINS_PER_DECADE) * 1_000, self.max_ns) / 1e6
        return self.max_ns / 1e6
