"""What the session says to the engine worker, in order; cancellations are let through while a static batch runs."""

from __future__ import annotations

from collections import deque

from tpb_core.api.clock import Clock
from tpb_core.api.units import NS_PER_MS
from tpb_core.run.messages import Connection, Message

_LOOK_NS = 20 * NS_PER_MS
"""An engine may ask after each step; so often there is really a look."""


class Inbox:
    """The worker's end of the connection, for reading."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection, self._clock = connection, clock
        self._kept: deque[Message] = deque()
        self._looked_ns = 0

    def receive(self, timeout_s: float | None = None, also: int | None = None) -> Message | None:
        """See `Connection.receive`."""
        return self._kept.popleft() if self._kept else self._connection.receive(timeout_s, also)

    def cancelled(self) -> list[int]:
        """Requests that the session has cancelled since the last call. Other messages stay, and nothing behind them is looked at.

        Raises `ConnectionLost`.
        """
        found: list[int] = []
        now_ns = self._clock.now_ns()
        if now_ns - self._looked_ns < _LOOK_NS:
            return found
        self._looked_ns = now_ns
        while not self._kept and (message := self._connection.receive(0)) is not None:
            if message["kind"] == "cancel":
                found += message["requests"]
            else:
                self._kept.append(message)
        return found
