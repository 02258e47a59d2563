"""One long-lived `ipmitool ... shell`: requests go to its standard input, answers come from a pseudo-terminal up to the next prompt.

A pseudo-terminal, because ipmitool does not flush a pipe. At the end of its input the shell (1.8.19) spins instead of ending, so it is
told `exit`, killed when it does not listen, and killed by the kernel when the sampler dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import struct
import subprocess
import termios
import time
import tty
from collections.abc import Mapping, Sequence

from tpb_meter_ipmi.answer import PROMPT, parse_answer
from tpb_meter_ipmi.link import LinkError

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_SLICE_S = 0.25
_MOST_BYTES = 65_536


def _in_child() -> None:
    """Default signals again, and death with the thread that started it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class IpmitoolLink:
    """A session held by ipmitool."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], *, login_s: float, timeout_s: float, details: str) -> None:
        """Start ipmitool and wait for its prompt. Raises LinkError with its last words, OSError where it cannot be started."""
        self.backend, self.details, self._timeout_s = "ipmitool", details, timeout_s
        self._aborted = False
        self._screen, terminal = os.openpty()
        try:
            tty.setraw(terminal)
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 50, 400, 0, 0))  # no request is wrapped
            self._process = subprocess.Popen(
                [*arguments, "shell"], stdin=subprocess.PIPE, stdout=terminal, stderr=terminal, bufsize=0, start_new_session=True,
                preexec_fn=_in_child, env={**environ, "TERM": "dumb", "LC_ALL": "C"},
            )  # fmt: skip
        except BaseException:
            os.close(self._screen)
            raise
        finally:
            os.close(terminal)
        try:
            self._until_prompt(login_s)
        except LinkError:
            self.close()
            raise

    def request(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        """One raw request. Raises CompletionError and LinkError."""
        words = " ".join(f"0x{byte:02x}" for byte in (netfn, command, *data))
        self._write(f"raw {words}\n")
        return parse_answer(self._until_prompt(self._timeout_s))

    def abort(self) -> None:
        """Kill ipmitool: a request that waits fails."""
        self._aborted = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End the session, then the program. Idempotent."""
        if self._screen < 0:
            return
        with contextlib.suppress(LinkError):
            self._write("exit\n")
            self._until_prompt(1.0)  # ends with the program
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        os.close(self._screen)
        self._screen = -1

    def _write(self, text: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text.encode())
        except OSError as error:
            raise LinkError("ipmitool ended") from error

    def _until_prompt(self, patience_s: float) -> str:
        """Everything up to the next prompt. Raises LinkError when ipmitool ends, falls silent or floods."""
        deadline = time.monotonic() + patience_s
        text = b""
        while not text.endswith(PROMPT):
            remaining_s = deadline - time.monotonic()
            if self._aborted or remaining_s <= 0 or len(text) > _MOST_BYTES:
                raise LinkError(f"no answer within {patience_s:g} s" if not self._aborted else "closed")
            if select.select([self._screen], [], [], min(remaining_s, _SLICE_S))[0]:
                try:
                    chunk = os.read(self._screen, 4096)
                except OSError:  # how a pseudo-terminal says that the other side is gone
                    chunk = b""
                if not chunk:
                    raise LinkError(_last_words(text))
                text += chunk
        return text[: -len(PROMPT)].decode("utf-8", "replace")


def _last_words(text: bytes) -> str:
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    return f"ipmitool ended: {'; '.join(lines[-2:])[:200]}" if lines else "ipmitool ended without a word"
