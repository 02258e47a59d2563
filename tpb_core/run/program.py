"""The subject of `tpb measure -- COMMAND ...`: any program, with the terminal for itself."""

from __future__ import annotations

import resource
import shlex
import subprocess
from collections.abc import Sequence
from typing import Any

from tpb_core.api.errors import BadInput


class Program:
    """Starts the program with our standard streams and waits for it. It shares our process group, so Ctrl-C reaches it as usual."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def exit_code(self) -> int | None:
        """Of the program; negative for a signal, None while it runs."""
        return None if self._process is None else self._process.returncode

    def describe(self) -> dict[str, Any]:
        """The command stands where a run of ours has its engine."""
        return {"name": "command", "model": {"name": shlex.join(self._command)}, "requested": {}, "effective": {}, "instances": []}

    def start(self) -> list[int]:
        """Start it. Raises `BadInput` where there is no such program."""
        try:
            self._process = subprocess.Popen(self._command)
        except OSError as error:
            raise BadInput(f"{self._command[0]}: {error.strerror}", "Type the program as in a shell, after --") from error
        return [self._process.pid]

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
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"cpu_s": used.ru_utime + used.ru_stime}


class Duration:
    """A stretch of time in which something runs that we neither start nor end."""

    def __init__(self, description: dict[str, Any], seconds: float) -> None:
        self._description, self._seconds = description, seconds

    def describe(self) -> dict[str, Any]:
        """As given."""
        return self._description

    def start(self) -> list[int]:
        """Nothing to start."""
        return []

    def ended(self, run_s: float) -> bool:
        """When the time is over."""
        return run_s >= self._seconds

    def close(self) -> dict[str, Any] | None:
        """Nothing to end."""
        return None
