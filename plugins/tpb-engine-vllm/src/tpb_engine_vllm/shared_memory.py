"""Shared memory of vLLM's processes: some of it outlives them, all of it where they are killed, until somebody unlinks it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_FOLDER = "/dev/shm/"
_NAMES = ("psm_", "sem.mp-", "vllm_")
"""How Python's and vLLM's own segments are called."""
_SWEEP = """
import contextlib, os, sys
sys.stdin.read()
for path in sys.argv[1:]:
    with contextlib.suppress(OSError):
        os.unlink(path)
"""
_PATIENCE_S = 10.0


class SharedMemory:
    """What processes have mapped at one moment. A small process of its own session waits for `close`, or for the end of this one by
    whatever signal, and unlinks it."""

    def __init__(self, pids: Iterable[int]) -> None:
        paths = sorted(set().union(*(segments_of(pid) for pid in pids)))
        self._sweeper: subprocess.Popen[bytes] | None = None
        if paths:
            command = [sys.executable, "-I", "-S", "-c", _SWEEP, *paths]
            self._sweeper = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )

    def close(self) -> None:
        """Unlink it now. Idempotent."""
        sweeper, self._sweeper = self._sweeper, None
        if sweeper is not None:
            assert sweeper.stdin is not None
            sweeper.stdin.close()
            sweeper.wait(_PATIENCE_S)


def segments_of(pid: int) -> set[str]:
    """Paths of the segments that a process has mapped; none where it is gone or nobody tells."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    paths = {line.split(maxsplit=5)[5] for line in lines if _FOLDER in line}
    return {path for path in paths if path.startswith(tuple(_FOLDER + name for name in _NAMES)) and not path.endswith(" (deleted)")}
