"""The executor's steady clock on ours. On Linux both are CLOCK_MONOTONIC; that is checked by brackets, and believed only where it fits.

A bracket is a stamp of theirs between two of ours: `ours before <= theirs + offset <= ours after`. Each one bounds the offset from both
sides; together they give an interval. Times in ns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

_WIDEST_NS = 20_000_000
"""An offset known no better than this tells nothing about queueing."""
_ROUNDING_NS = 1_000
"""Their stamps have microseconds."""
_READINGS = 5


def as_ns(seconds: object) -> int | None:
    """Nanoseconds of a stamp: a `timedelta`, or a number of seconds. None for what is neither, negative, or no time at all (0)."""
    total = seconds.total_seconds() if hasattr(seconds, "total_seconds") else seconds
    if isinstance(total, bool) or not isinstance(total, (int, float)) or not 1e-6 <= total < 1e10:
        return None
    return round(total * 1e9)


@dataclass
class ExecutorClock:
    """What is known of `our clock - their clock`. `problem` says why nothing is believed, None while all is well."""

    low_ns: int = -(1 << 62)
    high_ns: int = 1 << 62
    problem: str | None = field(default="no stamp of TensorRT-LLM was compared with this machine's clock")

    def bracket(self, before_ns: int, first_ns: int, last_ns: int, after_ns: int) -> None:
        """Stamps of theirs from `first_ns` to `last_ns` that were taken between two of ours."""
        low, high = before_ns - first_ns - _ROUNDING_NS, after_ns - last_ns + _ROUNDING_NS
        if low > high or low > self.high_ns or high < self.low_ns:
            self.problem = "stamps of TensorRT-LLM's clock contradict this machine's CLOCK_MONOTONIC"
            self.low_ns, self.high_ns = 1, 0
            return
        self.low_ns, self.high_ns = max(self.low_ns, low), min(self.high_ns, high)
        width = self.high_ns - self.low_ns
        if width > _WIDEST_NS:
            self.problem = f"TensorRT-LLM's clock could be compared with this machine's only to within {width / 2e6:.0f} ms"
        else:
            self.problem = None

    @property
    def offset_ns(self) -> int:
        """To be added to their stamps: none where that fits, as on one machine it does; else the middle of what is possible."""
        return 0 if self.low_ns <= 0 <= self.high_ns else (self.low_ns + self.high_ns) // 2

    @property
    def uncertainty_ns(self) -> int:
        """The offset may be wrong by this much."""
        return max(0, self.high_ns - self.low_ns) // 2 + _ROUNDING_NS

    def ours(self, their_ns: int) -> int:
        """A stamp of theirs on our clock."""
        return their_ns + self.offset_ns


def compare(clock: ExecutorClock, steady_now: Callable[[], object], now_ns: Callable[[], int]) -> None:
    """Read their clock between two readings of ours a few times; the narrowest bracket counts most."""
    for _ in range(_READINGS):
        before_ns = now_ns()
        their_ns = as_ns(steady_now())
        after_ns = now_ns()
        if their_ns is not None:
            clock.bracket(before_ns, their_ns, their_ns, after_ns)


@dataclass(frozen=True)
class RequestTimes:
    """When a request arrived at the executor, was first scheduled, and gave its first and last token, on our clock."""

    arrived_ns: int
    scheduled_ns: int
    first_token_ns: int
    last_token_ns: int


def request_times(
    clock: ExecutorClock, stamps: tuple[object, object, object, object], submitted_ns: int, ended_ns: int
) -> RequestTimes | str:
    """The four stamps of a request on our clock, or why they are not believed: the clock, a missing one, the order, or the bracket."""
    if clock.problem is not None:
        return clock.problem
    told = [as_ns(stamp) for stamp in stamps]
    if any(stamp is None for stamp in told):
        return "TensorRT-LLM gave no times for this request"
    times = [clock.ours(stamp) for stamp in told if stamp is not None]
    if times != sorted(times):
        return "TensorRT-LLM's times of this request run backwards"
    if times[0] < submitted_ns - clock.uncertainty_ns or times[-1] > ended_ns + clock.uncertainty_ns:
        return "TensorRT-LLM's times of this request lie outside of the time in which we saw it"
    return RequestTimes(*times)
