"""Ctrl-C and SIGTERM, turned into a request that the session notices between two waits, so that nothing half-written is left.

A second Ctrl-C raises KeyboardInterrupt at once.
"""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType

from tpb_core.api.errors import Interrupted


class Interruption:
    """Context manager for the session process's main thread. `fileno()` becomes readable when the user wants to stop."""

    def __init__(self) -> None:
        self.requested = False
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._notice)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        os.close(self._read_fd)
        os.close(self._write_fd)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        os.write(self._write_fd, b"!")

    def fileno(self) -> int:
        """Descriptor to wait on beside others."""
        return self._read_fd

    def forget(self) -> None:
        """The user's wish to stop was met: what comes now is the end in good order, which the next Ctrl-C may still cut short."""
        self.requested = False

    def check(self) -> None:
        """Raise `Interrupted` when a stop was asked for. From then on `fileno()` is quiet, so that closing can wait in peace."""
        if self.requested:
            readable, _, _ = select.select([self._read_fd], [], [], 0)
            if readable:
                os.read(self._read_fd, 64)
            raise Interrupted("interrupted")
