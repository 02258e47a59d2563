"""`closed`: N users, each of which sends its next request when the last one is answered, after a pause to think."""

from __future__ import annotations

import heapq

from tpb_core.api.units import NS_PER_S
from tpb_core.run.load.shape import LoadShape, Send


class ClosedShape(LoadShape):
    """`concurrency` users. A request is due when its user is ready, whatever the client is busy with."""

    def __init__(self, total: int, concurrency: int, think_time_s: float = 0.0) -> None:
        super().__init__(total, min(concurrency, total))
        self._think_ns = round(think_time_s * NS_PER_S)
        self._ready_ns: list[int] = []
        self._first_unreplaced_ns: int | None = None

    def begin(self, t_ns: int) -> None:
        """All users are ready at the start."""
        super().begin(t_ns)
        self._ready_ns = [t_ns] * self.max_concurrency

    def due(self, now_ns: int) -> list[Send]:
        """One send for each user who is ready."""
        sends = []
        while self._ready_ns and self._ready_ns[0] <= now_ns and self.sent < self.total and not self.stopped:
            sends.append(Send(range(self.sent, self.sent + 1), heapq.heappop(self._ready_ns)))
            self.sent += 1
        return sends

    def next_due_ns(self) -> int | None:
        """When the next user has finished thinking."""
        return self._ready_ns[0] if self._ready_ns and self.sent < self.total and not self.stopped else None

    def finished(self, t_ns: int) -> None:
        """The user begins to think; or leaves, where no request is left."""
        super().finished(t_ns)
        if self.sent < self.total and not self.stopped:
            heapq.heappush(self._ready_ns, t_ns + self._think_ns)
        elif self._first_unreplaced_ns is None:
            self._first_unreplaced_ns = t_ns

    def steady(self) -> tuple[int, int] | None:
        """From the start, when all users send, until the first one leaves. None with pauses: concurrency is below its target then."""
        if self._think_ns or self._first_unreplaced_ns is None or self._first_unreplaced_ns <= self.begin_ns:
            return None
        return self.begin_ns, self._first_unreplaced_ns
