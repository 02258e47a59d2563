"""The clock that session, load shapes and sampler are handed: real, or virtual for simulated worlds."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Run time in int64 nanoseconds: CLOCK_MONOTONIC of the coordinating node, or simulated time."""

    @property
    def virtual(self) -> bool:
        """True where time passes only when somebody sleeps."""

    def now_ns(self) -> int:
        """The present run time."""

    def sleep_until(self, t_ns: int) -> None:
        """Return at or after `t_ns`; at once where it has passed. On a virtual clock, timers due before `t_ns` run first, in order."""
