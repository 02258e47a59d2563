"""CPU time of a tree of processes that never loses what a child used, even when nobody saw the child.

A process's own time is read while it lives. When it has been waited for, the kernel adds its time to the parent's "reaped" time, which
also holds children that came and went between two readings. So the tree's time is the last own time of every process ever seen, plus,
for each, the reaped time that exceeds what we had already seen of its vanished children.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tpb_meter_estimate.proc import ProcessTimes, all_pids, read_process, ticks_per_second

_MOST_PASSES = 4


@dataclass
class _Seen:
    """What is known of one process. All times in ticks; `base` is what it had used before we began to watch it."""

    pid: int
    times: ProcessTimes
    base_own: int
    base_reaped: int
    seen_of_vanished: int = 0
    alive: bool = True

    @property
    def used(self) -> int:
        unseen = max(0, self.times.reaped - self.base_reaped - self.seen_of_vanished)
        return self.times.own - self.base_own + unseen


class ProcessTree:
    """CPU seconds of some processes and all their descendants since they were first followed. Other processes never count."""

    def __init__(self, proc: Path, rescan_s: float = 1.0) -> None:
        self._proc = proc
        self._rescan_s = rescan_s
        self._ticks_per_s = ticks_per_second()
        self._born_ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * self._ticks_per_s)
        self._seen: dict[tuple[int, int], _Seen] = {}
        """By (pid, start time), parents before their children."""
        self._pid_to_key: dict[int, tuple[int, int]] = {}
        self._strangers: set[int] = set()
        """Pids that are none of ours: who is not born in the tree never joins it."""
        self._roots: tuple[int, ...] = ()
        self._next_scan_s = 0.0
        self._ended_ticks = 0
        self._highest_ticks = 0

    @property
    def resolution_s(self) -> float:
        """The smallest step of a process's CPU time."""
        return 1.0 / self._ticks_per_s

    def follow(self, pids: Sequence[int]) -> None:
        """Watch these processes and their descendants; those watched before stay counted. What a process used before we began is not."""
        self._roots = tuple(pids)
        self._strangers.clear()
        self._next_scan_s = 0.0
        self.cpu_seconds()

    def cpu_seconds(self) -> float | None:
        """CPU seconds so far, never falling; None before any process was named."""
        if not self._roots:
            return None
        now = time.monotonic()
        if now >= self._next_scan_s:
            self._find_members()
            self._next_scan_s = now + self._rescan_s
        # A child that is waited for while we read would be counted twice or not at all. Parents are read before children, so a pass
        # in which nobody vanished is consistent: whoever was read alive is not yet in the parent's reaped time.
        for _ in range(_MOST_PASSES):
            if not self._read_members():
                break
        self._forget_ended()
        self._highest_ticks = max(self._highest_ticks, self._ended_ticks + sum(member.used for member in self._seen.values()))
        return self._highest_ticks / self._ticks_per_s

    def members(self) -> list[int]:
        """Pids of the living members that are known now."""
        return [member.pid for member in self._seen.values() if member.alive]

    def _find_members(self) -> None:
        """Add descendants that appeared since the last look, level by level."""
        try:
            pids = all_pids(self._proc)
        except OSError:
            return
        # A look at a few new processes instead of at all of them: on a busy machine that is milliseconds of a core that the engine needs.
        self._strangers &= pids
        found = {pid: read_process(self._proc, pid) for pid in pids - self._strangers}
        processes = {pid: times for pid, times in found.items() if times is not None}
        level = [pid for pid in (*self._roots, *self.members()) if pid in processes]
        own_process = os.getpid()  # the meter's own work is overhead, not the engine's, even where it runs as a child of the engine
        children: dict[int, list[int]] = {}
        for pid, times in processes.items():
            children.setdefault(times.parent, []).append(pid)
        visited: set[int] = set()
        while level:
            for pid in level:
                self._add(pid, processes[pid])
            visited.update(level)
            level = [child for pid in level for child in children.get(pid, ()) if child not in visited and child != own_process]
        self._strangers |= {pid for pid in set(processes) - visited if processes[pid].parent in {0, *pids}}

    def _add(self, pid: int, times: ProcessTimes) -> None:
        key = (pid, times.start)
        if key in self._seen:
            return
        old = times.start < self._born_ticks
        self._seen[key] = _Seen(pid, times, times.own if old else 0, times.reaped if old else 0)
        self._pid_to_key[pid] = key

    def _read_members(self) -> bool:
        """Read all living members once. Returns whether any had vanished."""
        vanished = False
        for member in self._seen.values():
            if not member.alive:
                continue
            times = read_process(self._proc, member.pid)
            if times is not None and times.start == member.times.start:
                member.times = times
                continue
            vanished = True
            member.alive = False
            parent = self._seen.get(self._pid_to_key.get(member.times.parent, (0, 0)))
            if parent is not None:
                parent.seen_of_vanished += member.times.own + member.times.reaped
        return vanished

    def _forget_ended(self) -> None:
        """Keep the sum of ended processes only, so that a long run that starts many does not grow."""
        for key in [key for key, member in self._seen.items() if not member.alive]:
            self._ended_ticks += self._seen.pop(key).used
            if self._pid_to_key.get(key[0]) == key:
                del self._pid_to_key[key[0]]
