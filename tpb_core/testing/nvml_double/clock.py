"""A virtual clock in a memory-mapped file: the compiled double and the meter under test read the same simulated time."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

REALTIME_AT_ZERO_NS = 1_790_000_000_000_000_000
"""CLOCK_REALTIME when the virtual run clock shows 0: some day in 2026."""


class VirtualClock:
    """Satisfies `tpb_core.api.Clock`. Time passes only in `sleep_until` and `advance_s`; the file holds {monotonic, realtime} in ns."""

    virtual = True

    def __init__(self, path: Path, start_ns: int = 0) -> None:
        self.path = path
        path.write_bytes(struct.pack("<qq", start_ns, start_ns + REALTIME_AT_ZERO_NS))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 16)
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """The present simulated time in ns."""
        return self._now_ns

    def sleep_until(self, t_ns: int) -> None:
        """Let time pass until `t_ns`; at once where it has passed."""
        if t_ns > self._now_ns:
            self._now_ns = t_ns
            struct.pack_into("<qq", self._page, 0, t_ns, t_ns + REALTIME_AT_ZERO_NS)

    def advance_s(self, duration_s: float) -> None:
        """Let `duration_s` seconds pass."""
        self.sleep_until(self._now_ns + round(duration_s * 1e9))
