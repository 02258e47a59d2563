"""A long-lived child program whose lines are stamped when they arrive, by a thread that does nothing else."""

from __future__ import annotations

import collections
import ctypes
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence

_MOST_LINES = 100_000
_LONGEST_LINE = 65_536
_STDERR_TAIL = 2_000
_LAST_WORDS_S = 0.2
"""After the end of the output, how long stderr may still tell why (another process may hold it open for ever)."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def _in_child() -> None:
    """Default signals again (the sampler ignores some), and death with the sampler, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """One run of a program. Lines wait, each with its arrival on the clock, until they are taken."""

    def __init__(self, arguments: Sequence[str], now_ns: Callable[[], int]) -> None:
        """Start it. Raises OSError where it cannot be started."""
        self._now_ns = now_ns
        self._lines: collections.deque[tuple[int, str]] = collections.deque(maxlen=_MOST_LINES)
        self._stderr = b""
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, start_new_session=True,
            preexec_fn=_in_child,
        )  # fmt: skip
        self._wake_reading, self._wake_writing = os.pipe()
        self._thread = threading.Thread(target=self._listen, name="command-meter", daemon=True)
        self._thread.start()

    def take(self) -> list[tuple[int, str]]:
        """Lines since the last call, with the time of their arrival in ns."""
        taken = []
        while self._lines:
            taken.append(self._lines.popleft())
        return taken

    @property
    def running(self) -> bool:
        """Whether output can still come."""
        return self._thread.is_alive()

    def ending(self) -> str:
        """How it ended, in words, with the end of what it wrote to stderr."""
        status = self._process.wait()
        how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        last = self._stderr.decode("utf-8", "replace").strip().splitlines()
        return f"{how}: {last[-1][:200]}" if last else how

    def stop(self) -> None:
        """End it and everything that it started, wait for it, and take back thread and pipes. Idempotent."""
        if self._wake_writing < 0:
            return
        for last_word in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, last_word)
            except ProcessLookupError:
                break
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                continue
        os.write(self._wake_writing, b".")
        self._thread.join()
        for descriptor in (self._wake_reading, self._wake_writing):
            os.close(descriptor)
        self._wake_writing = -1
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        out, err = self._process.stdout.fileno(), self._process.stderr.fileno()
        rest = b""
        with selectors.DefaultSelector() as selector:
            for descriptor in (out, err, self._wake_reading):
                selector.register(descriptor, selectors.EVENT_READ)
            patience_s: float | None = None
            while selector.get_map().keys() & {out, err} and (events := selector.select(patience_s)):
                for key, _ in events:
                    if key.fd == self._wake_reading:
                        return
                    chunk = os.read(key.fd, 65_536)
                    arrival_ns = self._now_ns()
                    if not chunk:
                        selector.unregister(key.fd)
                        if key.fd == out:
                            patience_s = _LAST_WORDS_S
                    elif key.fd == err:
                        self._stderr = (self._stderr + chunk)[-_STDERR_TAIL:]
                    else:
                        rest = self._keep_lines(rest + chunk, arrival_ns)

    def _keep_lines(self, text: bytes, arrival_ns: int) -> bytes:
        """Store complete lines; returns the incomplete rest. Carriage returns end lines too (programs that redraw one line)."""
        *lines, rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if line.strip() and len(line) <= _LONGEST_LINE:
                self._lines.append((arrival_ns, line.decode("utf-8", "replace")))
        return rest if len(rest) <= _LONGEST_LINE else b""
