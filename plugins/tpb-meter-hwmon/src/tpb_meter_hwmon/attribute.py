"""One number in sysfs, read through a descriptor that stays open."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NUMBER = re.compile(rb"\s*(-?\d{1,20})\s*(?:\n|$)")


def parse_number(raw: bytes) -> int | None:
    """The decimal number in the first line of an attribute; None when it holds something else."""
    match = _NUMBER.match(raw)
    return int(match[1]) if match else None


def read_number(path: Path) -> int | None:
    """The number in a file, None where there is no such file or no number in it."""
    try:
        return parse_number(path.read_bytes()[:64])
    except OSError:
        return None


def read_text(path: Path) -> str:
    """The first line of a file, without control characters; empty where there is no such file."""
    try:
        raw = path.read_bytes()[:256]
    except OSError:
        return ""
    line = raw.split(b"\n", 1)[0].decode("utf-8", "replace")
    return "".join(c for c in line if c.isprintable()).strip()


class OpenNumber:
    """A file with a number that is read again and again. `read` raises OSError, and ValueError for what is no number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def open(self) -> None:
        """Open the file. Raises OSError."""
        if self._fd is None:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> int:
        """The number now."""
        if self._fd is None:
            raise OSError(f"{self.path} is not open")
        raw = os.pread(self._fd, 64, 0)
        number = parse_number(raw)
        if number is None:
            raise ValueError(f"{self.path} holds {raw[:40]!r}, which is no number")
        return number

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
