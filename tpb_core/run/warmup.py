"""Warm-up until stable: rounds of requests until two in a row take the same time, at most `run.warmup_rounds`."""

from __future__ import annotations

from tpb_core.run.drive import Driver
from tpb_core.run.load.offline import OfflineShape
from tpb_core.run.load.static import StaticShape
from tpb_core.run.request_plan import RequestPlan

_STABLE = 0.10
"""Two rounds are the same when they differ by less than this share."""


class WarmUp:
    """Rounds of as many requests as the load has under way at once. Their rows have the role `warmup`."""

    def __init__(self, concurrency: int, most_rounds: int, plan: RequestPlan) -> None:
        self._concurrency, self._most_rounds, self._plan = concurrency, most_rounds, plan
        self.requests = 0
        """Requests sent; the ordinals of the measured ones follow."""

    def run(self, driver: Driver) -> None:
        """Runs in the session, inside the window `warmup`. Prompts are taken from the end of the list, the measured ones from its start."""
        previous_ns: int | None = None
        for _ in range(self._most_rounds):
            begin_ns = driver.clock.now_ns()
            first = self.requests
            shape = (
                StaticShape(self._concurrency, self._concurrency) if driver.as_batch else OfflineShape(self._concurrency, self._concurrency)
            )
            driver.run(shape, lambda position, first=first: self._plan.request(first + position, -1 - position), "warmup")  # type: ignore[misc]
            self.requests += self._concurrency
            took_ns = driver.clock.now_ns() - begin_ns
            if previous_ns is not None and abs(took_ns - previous_ns) < _STABLE * previous_ns:
                return
            previous_ns = took_ns
