"""Which processes belong to the run: a meter that finds another one on a device reports it as foreign."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


class OwnProcesses:
    """The engine's processes, this one, and all that descend from them or from the session that started this one."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._roots: set[int] = {os.getpid()}
        if os.getppid() > 1:  # 1: the session is gone, and everything on the machine descends from it
            self._roots.add(os.getppid())

    def add(self, pids: Iterable[int]) -> None:
        """The engine's processes, as the session names them."""
        self._roots.update(pids)

    def has(self, pid: int) -> bool:
        """Whether a process is ours, going up its line of parents."""
        seen: set[int] = set()
        while pid > 1 and pid not in seen:
            if pid in self._roots:
                return True
            seen.add(pid)
            pid = self._parent(pid)
        return False

    def name(self, pid: int) -> str:
        """What the process is called; says so where it cannot be seen from here (another container's)."""
        try:
            return (self._proc / str(pid) / "comm").read_text().strip()
        except OSError:
            return "not visible from here"

    def _parent(self, pid: int) -> int:
        try:
            stat = (self._proc / str(pid) / "stat").read_text()
            return int(stat.rpartition(")")[2].split()[1])  # the name in brackets may hold spaces and brackets
        except (OSError, ValueError, IndexError):
            return 0
