"""One measurement at a time on a machine: two that overlap would each measure the other."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tpb_core.api.errors import Refused
from tpb_core.run.interruption import Interruption

LOCK_NAME = "tpb-measurement.lock"
_LOOK_EVERY_S = 0.5


class MachineLock:
    """Context manager. Holds an flock on a file in the machine's temporary folder, which the kernel gives back whatever happens to us.

    `wait` False refuses at once (exit code 3) where somebody else measures; otherwise `notice` is told once, and the lock waited for.
    """

    def __init__(self, *, wait: bool, notice: Callable[[str], None], interruption: Interruption) -> None:
        self._wait, self._notice, self._interruption = wait, notice, interruption
        self._fd: int | None = None

    def __enter__(self) -> MachineLock:
        fd = _open(Path(tempfile.gettempdir()) / LOCK_NAME)
        try:
            self._take(fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        _write_holder(fd)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _take(self, fd: int) -> None:
        told = False
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if not self._wait:
                    raise Refused(
                        f"another measurement is under way on this machine ({_holder(fd)}).", "Wait for it, or leave out --no-wait."
                    ) from None
            if not told:
                self._notice(f"Waiting: another measurement is under way on this machine ({_holder(fd)}).")
                told = True
            self._interruption.check()
            time.sleep(_LOOK_EVERY_S)


def _open(path: Path) -> int:
    """The lock file, shared by all users. An existing one is opened without O_CREAT: that is refused for others' files in /tmp."""
    for _ in range(3):
        try:
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
            except FileExistsError:
                continue
            os.fchmod(fd, 0o666)  # past the umask
            return fd
        except OSError as error:
            raise Refused(f"{path} cannot be opened, so it is not known whether somebody measures: {error.strerror}") from error
    raise Refused(f"{path} keeps appearing and vanishing, so it is not known whether somebody measures.")


def _write_holder(fd: int) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps({"pid": os.getpid(), "since": time.strftime("%H:%M:%S")}).encode(), 0)


def _holder(fd: int) -> str:
    try:
        told = json.loads(os.pread(fd, 200, 0))
        return f"process {told['pid']}, since {told['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its process is not known"
