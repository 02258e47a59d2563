"""Memory of the session (with sampler and simulated engine in it) during one hour of virtual time.

    python bench/memory_of_an_hour.py [--hours 1]

A simulated server under a Poisson load, metered at 10 Hz. Everything runs in one process here, the simulated world with it, which keeps
its whole history because it must tell the truth at the end. So growth is told by who holds the memory (tracemalloc): `tpb_core`, which
is session and sampler, beside the simulation and the rest; and the resident memory of all of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tracemalloc

import psutil

from tpb_core.config.compose import compose
from tpb_core.run.session import run_point


class MemoryLog:
    """A `Progress` that looks at the process's memory whenever requests are reported."""

    def __init__(self) -> None:
        self.window_name = ""
        self.snapshots: list[tracemalloc.Snapshot] = []
        self.seen: list[tuple[float, float]] = []
        self._process = psutil.Process()

    def window(self, name: str, expected_s: float | None = None) -> None:
        """Remember which window it is."""
        self.window_name = name

    def requests(self, done: int, total: int) -> None:
        """Note share of requests done and resident memory in MiB, at most two hundred times."""
        share = done / total
        if self.window_name == "measure" and (not self.seen or share >= self.seen[-1][0] + 0.005):
            self.seen.append((share, self._process.memory_info().rss / 2**20))
            if (share >= 0.2 and not self.snapshots) or (share >= 0.95 and len(self.snapshots) == 1):
                self.snapshots.append(tracemalloc.take_snapshot())

    def note(self, text: str) -> None:
        """Print."""
        print(text)


def main() -> int:
    """One run; the figures are in MiB."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0)
    hours = parser.parse_args().hours
    with tempfile.TemporaryDirectory() as folder:
        log = MemoryLog()
        words = ["+engine=sim", "+meter=sim", "load=poisson", "load.rate=2", f"load.duration_s={3600 * hours}", f"out.dir={folder}"]
        tracemalloc.start()
        run_point(compose(words), progress=log)
    for tenth in range(2, 11, 2):
        at = next(memory for share, memory in reversed(log.seen) if share <= tenth / 10 + 0.005)
        print(f"{tenth * 10:3} % of the requests: resident {at:7.1f} MiB (with tracemalloc's own books)")
    early, late = log.snapshots
    growth: dict[str, int] = {}
    for difference in late.compare_to(early, "filename"):
        path = difference.traceback[0].filename
        owner = next((name for name in ("tpb_core", "tpb_sim", "tpb_") if f"/{name}" in path), "other libraries")
        growth[owner] = growth.get(owner, 0) + difference.size_diff
    for owner, grown in sorted(growth.items()):
        print(f"held by {owner}: {grown / 1024:+.0f} KiB from 20 % to 95 %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
