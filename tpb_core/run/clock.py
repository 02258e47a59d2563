"""The two clocks of tpb: CLOCK_MONOTONIC, and simulated time that passes only when somebody sleeps."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable

from tpb_core.api.units import NS_PER_S


class RealClock:
    """CLOCK_MONOTONIC of this machine. All processes of a run read the same one."""

    virtual = False

    def now_ns(self) -> int:
        """Nanoseconds of CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def sleep_until(self, t_ns: int) -> None:
        """Sleep until `t_ns`; returns at once where it has passed."""
        while (left_ns := t_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / NS_PER_S)


class VirtualClock:
    """Simulated time. Whoever sleeps runs the timers that fall due meanwhile, in order of their times.

    Engine, sampler and load shape of a simulated run live in one process and share one such clock: the engine sleeps through each
    step, and the sampler's timers take their readings inside that call.
    """

    virtual = True

    def __init__(self, start_ns: int = NS_PER_S) -> None:
        self._now_ns = start_ns
        self._timers: list[tuple[int, int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now_ns(self) -> int:
        """Simulated nanoseconds."""
        return self._now_ns

    def every(self, interval_ns: int, call: Callable[[], None]) -> None:
        """Call `call` now + `interval_ns`, and every `interval_ns` after that, for as long as the clock is used."""
        heapq.heappush(self._timers, (self._now_ns + interval_ns, next(self._order), interval_ns, call))

    def stop_timers(self) -> None:
        """Forget all timers."""
        self._timers.clear()

    def sleep_until(self, t_ns: int) -> None:
        """Advance to `t_ns`. A timer must not sleep itself."""
        while self._timers and self._timers[0][0] <= t_ns:
            due_ns, order, interval_ns, call = heapq.heappop(self._timers)
            self._now_ns = max(self._now_ns, due_ns)
            heapq.heappush(self._timers, (due_ns + interval_ns, order, interval_ns, call))
            call()
        self._now_ns = max(self._now_ns, t_ns)
