"""Refresh periods found at start: poll the counter and the instantaneous power for a moment and look when they change."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tpb_core.api.clock import Clock
from tpb_meter_nvml.probe import ENERGY, GPU, INSTANT

POLL_NS = 2_000_000
CHANGES_WANTED = 7
LEAST_NS = 300_000_000
QUESTIONS = [(ENERGY, GPU), (INSTANT, GPU)]


@dataclass(frozen=True)
class Refresh:
    """Median time between changes of a value, with its standard uncertainty, and how many gaps it was taken from."""

    period_ms: float
    u_ms: float
    gaps: int


@dataclass
class _Watch:
    value: float | None = None
    changed_ns: list[int] = field(default_factory=list)

    def see(self, value: float, t_ns: int) -> None:
        if self.value is not None and value != self.value:
            self.changed_ns.append(t_ns)
        self.value = value

    def refresh(self, poll_ns: float) -> Refresh | None:
        """None with fewer than two gaps. A change is seen up to one poll late, at both ends of a gap: poll/sqrt(6)."""
        gaps = [(b - a) / 1e6 for a, b in zip(self.changed_ns, self.changed_ns[1:], strict=False)]
        if len(gaps) < 2:
            return None
        median = statistics.median(gaps)
        spread = statistics.median(abs(gap - median) for gap in gaps) * 1.4826 / math.sqrt(len(gaps))
        return Refresh(median, math.hypot(spread, poll_ns / 1e6 / math.sqrt(6 * len(gaps))), len(gaps))


def find_refresh(nvml: Any, handles: Mapping[str, Any], clock: Clock, most_s: float) -> dict[tuple[str, int], Refresh]:
    """Refresh by (UUID, field) of the given boards. Ends when every counter has changed often enough, at most after `most_s` seconds.

    Power that keeps its value (an idle board) gives nothing here, and never a wrong period: gaps longer than the counter's are dropped
    by the caller.
    """
    watches = {(uuid, field): _Watch() for uuid in handles for field, _ in QUESTIONS}
    start_ns = clock.now_ns()
    polls = 0
    while True:
        for uuid, handle in handles.items():
            try:
                rows = nvml.nvmlDeviceGetFieldValues(handle, QUESTIONS)
            except nvml.NVMLError:
                continue
            t_ns = clock.now_ns()
            for (number, _), row in zip(QUESTIONS, rows, strict=True):
                value = float(row.value.ullVal if number == ENERGY else row.value.uiVal)
                if row.nvmlReturn == 0 and value:
                    watches[uuid, number].see(value, t_ns)
        polls += 1
        now_ns = clock.now_ns()
        counters_done = all(len(watches[uuid, ENERGY].changed_ns) >= CHANGES_WANTED for uuid in handles)
        if now_ns - start_ns >= most_s * 1e9 or (counters_done and now_ns - start_ns >= LEAST_NS):
            break
        clock.sleep_until(now_ns + POLL_NS)
    poll_ns = (clock.now_ns() - start_ns) / polls
    found = {key: watch.refresh(poll_ns) for key, watch in watches.items()}
    return {key: refresh for key, refresh in found.items() if refresh is not None}
