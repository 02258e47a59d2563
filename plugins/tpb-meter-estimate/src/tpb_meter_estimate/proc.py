"""CPU times as Linux tells them: `/proc/<pid>/stat` of a process, `/proc/stat` of the machine (man 5 proc)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

_PPID, _UTIME, _STIME, _CUTIME, _CSTIME, _STARTTIME = 1, 11, 12, 13, 14, 19
_NUMBER = re.compile(rb"\d{1,19}")
_BUSY_COLUMNS = (0, 1, 2, 5, 6)
"""user, nice, system, irq, softirq; idle, iowait and steal are not work of this machine, and guest is inside user already."""


class ProcessTimes(NamedTuple):
    """CPU time of one process in clock ticks: its own threads, and children that it has waited for (with theirs)."""

    parent: int
    start: int
    """Start time in ticks since boot: with the pid, the identity of a process."""
    own: int
    reaped: int


def ticks_per_second() -> int:
    """Clock ticks a second (`USER_HZ`), 100 on practically every Linux."""
    return int(os.sysconf("SC_CLK_TCK"))


def parse_stat(raw: bytes) -> ProcessTimes | None:
    """Times from the content of `/proc/<pid>/stat`; None when it is not one. The command name may hold anything, brackets too."""
    head, bracket, tail = raw.rpartition(b")")
    fields = tail.split()
    if not bracket or b"(" not in head or len(fields) <= _STARTTIME:
        return None
    wanted = [fields[i] for i in (_PPID, _UTIME, _STIME, _CUTIME, _CSTIME, _STARTTIME)]
    if not all(_NUMBER.fullmatch(field) for field in wanted):
        return None
    parent, utime, stime, cutime, cstime, start = (int(field) for field in wanted)
    return ProcessTimes(parent, start, utime + stime, cutime + cstime)


def read_process(proc: Path, pid: int) -> ProcessTimes | None:
    """Times of a process; None when it is gone (or hidden from us)."""
    try:
        with open(proc / str(pid) / "stat", "rb", buffering=0) as stream:
            return parse_stat(stream.read(4096))
    except OSError:
        return None


def all_pids(proc: Path) -> set[int]:
    """Pids of all processes that we can see. Raises OSError without a `/proc`."""
    return {int(name) for name in os.listdir(proc) if name.isascii() and name.isdigit()}


def parse_busy_ticks(raw: bytes) -> int | None:
    """Busy ticks of all CPUs together from the first line of `/proc/stat`; None when it is not one."""
    fields = raw.split(b"\n", 1)[0].split()
    if len(fields) < 8 or fields[0] != b"cpu" or not all(_NUMBER.fullmatch(field) for field in fields[1:8]):
        return None
    return sum(int(fields[1 + column]) for column in _BUSY_COLUMNS)
