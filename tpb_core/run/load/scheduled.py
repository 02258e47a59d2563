"""Open loops: requests are due on a schedule, whatever the answers do, so that a slow server cannot slow its own load down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tpb_core.api.errors import BadInput
from tpb_core.api.units import NS_PER_S
from tpb_core.run.load.arrivals import Schedule
from tpb_core.run.load.shape import LoadShape, Send

_LOG_POINTS = 4000


class ScheduledShape(LoadShape):
    """Requests at fixed offsets from the beginning. Sends that are late keep the time at which they were due."""

    def __init__(self, schedule: Schedule, max_concurrency: int) -> None:
        super().__init__(len(schedule[0]), max_concurrency)
        self._schedule = schedule
        self._concurrency: list[tuple[int, int]] = []
        """Time and requests under way, at most one pair for each of `_LOG_POINTS` parts of the schedule: does not grow with the run."""

    def begin(self, t_ns: int) -> None:
        """Offsets become times."""
        super().begin(t_ns)
        offsets, end_s = self._schedule
        self._due_ns = t_ns + np.round(offsets * NS_PER_S).astype(np.int64)
        self._end_ns = t_ns + round(end_s * NS_PER_S)

    def due(self, now_ns: int) -> list[Send]:
        """Every request whose time has come, one send each."""
        sends = []
        while not self.stopped and self.sent < self.total and self._due_ns[self.sent] <= now_ns:
            sends.append(Send(range(self.sent, self.sent + 1), int(self._due_ns[self.sent])))
            self.sent += 1
            self._log(now_ns)
        return sends

    def next_due_ns(self) -> int | None:
        """The next time on the schedule."""
        return None if self.stopped or self.sent == self.total else int(self._due_ns[self.sent])

    def upcoming(self, count: int) -> range:
        """The next ones of the schedule."""
        return range(0) if self.stopped else range(self.sent, min(self.sent + count, self.total))

    def finished(self, t_ns: int, position: int) -> None:
        """Only counted: the schedule does not wait."""
        super().finished(t_ns, position)
        self._log(t_ns)

    def _log(self, t_ns: int) -> None:
        point = (t_ns, self.sent - self.ended)
        if len(self._concurrency) > 1 and t_ns - self._concurrency[-2][0] < (self._end_ns - self.begin_ns) // _LOG_POINTS:
            self._concurrency[-1] = point
        else:
            self._concurrency.append(point)

    def end_ns(self) -> int | None:
        """The end of the last scheduled interval."""
        return self._end_ns

    def steady(self) -> tuple[int, int] | None:
        """After the ramp: from when as many requests are under way as there are on average in the second half, to the end."""
        half_ns = (self.begin_ns + self._end_ns) // 2
        late = [(t_ns, count) for t_ns, count in self._concurrency if half_ns <= t_ns <= self._end_ns]
        if len(late) < 2:
            return None
        durations = np.diff([t_ns for t_ns, _ in late])
        if durations.sum() <= 0:
            return None
        target = float(np.average([count for _, count in late[:-1]], weights=np.maximum(durations, 0)))
        reached = next((t_ns for t_ns, count in self._concurrency if count >= target), None)
        return None if reached is None or reached >= self._end_ns else (reached, self._end_ns)


class TraceShape(ScheduledShape):
    """A schedule that comes with the prompts."""

    def __init__(self, requests: int, max_concurrency: int, schedule_of: Callable[[npt.NDArray[np.float64]], Schedule]) -> None:
        super().__init__((np.zeros(requests), 0.0), max_concurrency)
        self._schedule_of = schedule_of

    def use_arrivals(self, arrivals_s: Sequence[float | None]) -> None:
        """See `LoadShape`."""
        if not arrivals_s or any(arrival is None for arrival in arrivals_s):
            raise BadInput(
                "load=trace needs arrival times and the prompts have none", "Use prompts=file with a column arrival_s, or prompts=trace"
            )
        times = np.array(arrivals_s, dtype=np.float64)
        if (np.diff(times) < 0).any():
            raise BadInput("the prompts are not in the order of their arrival times", "Leave prompts.shuffle out")
        self._schedule = self._schedule_of(times)
        self.total = len(self._schedule[0])
