"""Which processes belong to the run: a meter that finds another one on a device reports it as foreign."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


class OwnProcesses:
    """The engine's processes, this one, and all that descend from them, from the session that started this one, or share their groups."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._roots: set[int] = set()
        self._groups: set[int] = set()
        # 1: the session is gone, and everything on the machine descends from it
        self.add([os.getpid(), *([os.getppid()] if os.getppid() > 1 else [])])

    def add(self, pids: Iterable[int]) -> None:
        """The engine's processes, as the session names them. Their groups count as well: children outlive parents."""
        for pid in pids:
            self._roots.add(pid)
            with contextlib.suppress(OSError, ValueError, IndexError):
                self._groups.add(self._stat(pid)[2])

    def has(self, pid: int) -> bool | None:
        """Whether a process is ours, by its group or going up its line of parents.

        None where it cannot be told: a process that is not seen from here (from inside a container, drivers name processes by the
        host's numbers) may be the engine itself.
        """
        if pid in self._roots:
            return True
        if not (self._proc / str(pid)).exists():
            return None
        seen: set[int] = set()
        while pid > 1 and pid not in seen:
            seen.add(pid)
            try:
                _, parent, group = self._stat(pid)
            except (OSError, ValueError, IndexError):
                break  # it ended while we looked
            if pid in self._roots or group in self._groups:
                return True
            pid = parent
        return pid in self._roots

    def name(self, pid: int) -> str:
        """What the process is called."""
        try:
            return (self._proc / str(pid) / "comm").read_text().strip()
        except OSError:
            return "ended"

    def _stat(self, pid: int) -> tuple[int, int, int]:
        """(pid, parent, process group)."""
        fields = (self._proc / str(pid) / "stat").read_text().rpartition(")")[2].split()  # the name in brackets may hold anything
        return pid, int(fields[1]), int(fields[2])
