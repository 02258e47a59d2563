"""What llama.cpp logs: kept off standard error, appended to the engine's log file, the last lines remembered for messages."""

from __future__ import annotations

import re
from collections import deque
from typing import Any, BinaryIO

_INFO, _ERROR, _CONTINUED = 2, 4, 5


class NativeLog:
    """The one log of this process: llama.cpp has one global callback. Debug lines are dropped."""

    def __init__(self) -> None:
        self.lines: deque[tuple[int, str]] = deque(maxlen=2000)
        self._file: BinaryIO | None = None
        self._callback: Any = None
        self._level = _INFO

    def attach(self, lib: Any, path: str | None) -> None:
        """Send what llama.cpp logs from now on to the file (None: nowhere) instead of standard error."""
        self.detach()
        self.lines.clear()
        self._file = open(path, "ab") if path else None  # noqa: SIM115 - lives until detach
        if self._callback is None:  # one for the life of the process: llama.cpp may log until its end
            self._callback = lib.llama_log_callback(self._write)
        lib.llama_log_set(self._callback, None)

    def detach(self) -> None:
        """Close the file; later lines are dropped. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def errors(self) -> list[str]:
        """The error lines so far, oldest first."""
        return [line for level, line in self.lines if level == _ERROR]

    def find(self, pattern: str) -> str | None:
        """The last group 1 of a case-insensitive regular expression in the lines so far."""
        found = self.find_all(pattern)
        return found[-1] if found else None

    def find_all(self, pattern: str) -> list[str]:
        """Group 1 of a case-insensitive regular expression in each line so far that matches, oldest first."""
        expression = re.compile(pattern, re.IGNORECASE)
        return [match.group(1) for _, line in self.lines if (match := expression.search(line))]

    def _write(self, level: int, text: bytes, _: Any) -> None:
        self._level = level = self._level if level == _CONTINUED else level
        if level < _INFO:
            return
        if line := text.decode("utf-8", "replace").strip("\n. "):
            self.lines.append((level, line))
        if self._file is not None:
            try:
                self._file.write(text)
                self._file.flush()
            except OSError:  # a full disk must not end a measurement
                self._file = None


LOG = NativeLog()
