"""A long-running program whose lines arrive with the time of their receipt. One thread reads; the sampler's thread takes."""

from __future__ import annotations

import collections
import contextlib
import signal
import subprocess
import threading
from collections.abc import Sequence

from tpb_core.api.clock import Clock

MOST_LINES = 100_000
STOP_S = 2.0


class LineStream:
    """Starts the program at once, out of reach of a terminal's Ctrl-C. Raises OSError where it cannot be started."""

    def __init__(self, command: Sequence[str], clock: Clock) -> None:
        self._clock = clock
        self._lines: collections.deque[tuple[int, str]] = collections.deque(maxlen=MOST_LINES)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._receive, name="dcgmi dmon", daemon=True)
        self._thread.start()

    def take(self) -> list[tuple[int, str]]:
        """Lines since the last call, each with the run time in ns when it came."""
        taken = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._lines.popleft())
        return taken

    @property
    def ended(self) -> int | None:
        """Exit status, None while the program runs."""
        return self._process.poll()

    def close(self) -> None:
        """Interrupt the program as a terminal would, kill it where it does not end, and wait for both process and thread."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._thread.join(STOP_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _receive(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed while reading
            for line in self._process.stdout:
                if line.endswith("\n"):  # a line that was cut off says nothing certain
                    self._lines.append((self._clock.now_ns(), line))
