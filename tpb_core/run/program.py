"""The subject of `tpb measure -- COMMAND ...`: any program, with the terminal for itself."""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tpb_core.api.errors import BadInput

_GATE = "import os, sys; fd = int(sys.argv[1]); os.read(fd, 1); os.close(fd); os.execvp(sys.argv[2], sys.argv[2:])"
"""Waits for a byte before it becomes the program: its process is known, and idle, before the window opens."""


class Program:
    """Starts the program with our standard streams and waits for it. It shares our process group, so Ctrl-C reaches it as usual."""

    may_end_early = False

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._gate_fd = -1

    @property
    def exit_code(self) -> int | None:
        """Of the program; negative for a signal, None while it runs."""
        return None if self._process is None else self._process.returncode

    def describe(self) -> dict[str, Any]:
        """The command stands where a run of ours has its engine."""
        return {"name": "command", "model": {"name": shlex.join(self._command)}, "requested": {}, "effective": {}, "instances": []}

    def prepare(self) -> list[int]:
        """Start its process, which waits. Raises `BadInput` where there is no such program."""
        if shutil.which(self._command[0]) is None:
            raise BadInput(f"{self._command[0]}: no such program", "Type the program as in a shell, after --")
        read_fd, self._gate_fd = os.pipe()
        self._process = subprocess.Popen([sys.executable, "-ISc", _GATE, str(read_fd), *self._command], pass_fds=[read_fd])
        os.close(read_fd)
        return [self._process.pid]

    def begin(self) -> None:
        """Let it run."""
        os.write(self._gate_fd, b"\n")
        self._close_gate()

    def _close_gate(self) -> None:
        if self._gate_fd >= 0:
            os.close(self._gate_fd)
            self._gate_fd = -1

    def ended(self, run_s: float) -> bool:
        """Whether it has ended."""
        assert self._process is not None
        return self._process.poll() is not None

    def close(self) -> dict[str, Any] | None:
        """Wait for it after an interruption, at most ten seconds; then end it."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.terminate()
            self._close_gate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"cpu_s": used.ru_utime + used.ru_stime}


class Duration:
    """A stretch of time in which something runs that we neither start nor end."""

    may_end_early = True

    def __init__(self, description: dict[str, Any], seconds: float) -> None:
        self._description, self._seconds = description, seconds

    def describe(self) -> dict[str, Any]:
        """As given."""
        return self._description

    def prepare(self) -> list[int]:
        """Nothing to start."""
        return []

    def begin(self) -> None:
        """It runs already."""

    def ended(self, run_s: float) -> bool:
        """When the time is over."""
        return run_s >= self._seconds

    def close(self) -> dict[str, Any] | None:
        """Nothing to end."""
        return None
