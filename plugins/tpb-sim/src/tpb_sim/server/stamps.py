"""Host stamps: what a server's log says about when a step ran, which under asynchronous dispatch is not when it ran."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class HostStamps:
    """How the host sees steps. Zero everywhere: as the device does."""

    lag_ms: float = 0.0
    """Mean time from the end of a step on the device until the host has seen it (exponential)."""
    asynchronous: bool = False
    """True: a step is dispatched while the one before it still runs, so that its host stamps overlap and must be serialised."""


class Stamps(NamedTuple):
    """Of one step: when the host dispatched it, where its row begins once serialised, and when the host saw its end."""

    dispatch_ns: int
    t0_ns: int
    t1_ns: int


class StampClerk:
    """Stamps of one instance, step by step, serialised so that they never overlap."""

    def __init__(self, stamps: HostStamps, seed: int) -> None:
        self._stamps = stamps
        self._random = random.Random(seed)
        self._last: Stamps | None = None
        self._last_end_ns = 0
        self.serialised = 0
        """How many steps began, by their host stamps, before the one before them had ended."""

    def stamp(self, t0_ns: int, t1_ns: int) -> Stamps:
        """The stamps of a step that ran in [t0_ns, t1_ns) on the device."""
        lag_ns = round(self._random.expovariate(1.0) * self._stamps.lag_ms * 1e6) if self._stamps.lag_ms else 0
        seen_ns = t1_ns + lag_ns
        dispatch_ns, begin_ns = t0_ns, t0_ns
        if self._last is not None:
            if self._stamps.asynchronous and self._last_end_ns == t0_ns:
                dispatch_ns = max(self._last.dispatch_ns, t0_ns - (t1_ns - t0_ns) // 2)
            self.serialised += dispatch_ns < self._last.t1_ns
            begin_ns, seen_ns = max(dispatch_ns, self._last.t1_ns), max(seen_ns, self._last.t1_ns + 1)
        self._last, self._last_end_ns = Stamps(dispatch_ns, begin_ns, seen_ns), t1_ns
        return self._last
