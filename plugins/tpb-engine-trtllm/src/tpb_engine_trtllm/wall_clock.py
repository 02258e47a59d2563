"""Time stamps of iteration statistics (local wall-clock time as text) on the run clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

FORMAT = "%m-%d-%Y %H:%M:%S.%f"
"""As both back ends write them. No zone: the local time of the process that wrote it."""
_QUARTER_NS = 15 * 60 * 10**9
"""Time zones differ by whole quarters of an hour."""
_STEPPED_NS = 1_000_000
_ROOM_NS = 5_000_000


class WallClock:
    """The realtime clock against the run clock. A server in a container may keep another zone; `fit` finds it out."""

    def __init__(self, now_ns: Callable[[], int], realtime_ns: Callable[[], int] = time.time_ns) -> None:
        self._now_ns, self._realtime_ns = now_ns, realtime_ns
        self._offset_ns: int | None = None
        self._shift_ns = 0

    def look(self) -> bool:
        """Compare the clocks. False where the realtime clock was stepped (by more than a millisecond) since the last look."""
        narrowest, offset_ns = 1 << 62, 0
        for _ in range(3):
            before_ns, real_ns, after_ns = self._now_ns(), self._realtime_ns(), self._now_ns()
            if after_ns - before_ns < narrowest:
                narrowest, offset_ns = after_ns - before_ns, (before_ns + after_ns) // 2 - real_ns
        last_ns, self._offset_ns = self._offset_ns, offset_ns
        if last_ns is None or abs(offset_ns - last_ns) > _STEPPED_NS:
            return last_ns is None
        # The offset lies anywhere within the look. Moved no further than that shows, or a slow look would make steps overlap.
        self._offset_ns = min(max(last_ns, offset_ns - narrowest // 2), offset_ns + narrowest // 2)
        return True

    def run_ns(self, text: str) -> int:
        """A stamp on the run clock. Of a local time that a clock change repeats, the one nearest to now. Raises ValueError."""
        if self._offset_ns is None:
            self.look()
        assert self._offset_ns is not None
        moment = datetime.strptime(text, FORMAT)
        if not 1971 <= moment.year <= 2100:
            raise ValueError(f"{text!r} lies outside 1971 to 2100")
        now_ns = self._now_ns() - self._offset_ns
        either = {_local_ns(moment.replace(fold=fold)) + self._shift_ns for fold in (0, 1)}
        return min(either, key=lambda ns: abs(ns - now_ns)) + self._offset_ns

    def fit(self, text: str, earliest_ns: int, latest_ns: int) -> bool:
        """Whether a stamp that must lie between two times of the run clock does, in some time zone, which is kept from then on."""
        self._shift_ns = 0
        middle_ns = (earliest_ns + latest_ns) // 2
        self._shift_ns = round((middle_ns - self.run_ns(text)) / _QUARTER_NS) * _QUARTER_NS
        return earliest_ns - _ROOM_NS <= self.run_ns(text) <= latest_ns + _ROOM_NS


def _local_ns(moment: datetime) -> int:
    return round(moment.replace(microsecond=0).timestamp()) * 10**9 + moment.microsecond * 1000
