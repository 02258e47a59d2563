"""What the two ways to a RAPL counter (powercap files, perf events) have in common."""

from __future__ import annotations

from typing import Protocol

from tpb_meter_rapl.zone import Zone

PLAUSIBLE_W = {"package": 1000.0, "core": 1000.0, "uncore": 500.0, "dram": 500.0, "psys": 5000.0}
"""More than any zone of that kind draws. Only used where the kernel states no limit, to tell a wrap from a reset: after a reset the
apparent power is that of most of the counter's range (tens of kilojoules) within one reading interval, far above these."""


class Counter(Protocol):
    """One energy counter. `read_j` raises OSError when the kernel refuses and ValueError when the text is not a count."""

    zone: Zone
    resolution_j: float
    wrap_j: float
    """Range in joules; 0 never wraps."""
    max_power_w: float
    source: str
    """Where it is read, for people: a path, or the name of a perf event."""

    def open(self) -> None:
        """Take the file descriptor. Raises OSError."""

    def read_j(self) -> float:
        """Energy in joules since an arbitrary start."""

    def close(self) -> None:
        """Give it back. Idempotent."""
