"""A lock file for work that one process at a time may do in a folder. The kernel drops it whatever way its holder ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """Hold the lock file `path` (made and removed here); waits for whoever holds it. Raises OSError where it cannot be made."""
    while True:
        with open(path, "ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_still(path, handle.fileno()):
                continue  # the holder before us removed the file while we waited: others may hold its successor
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
