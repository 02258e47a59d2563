"""The lock that tells a run under way from one that was killed: a shared flock on `<bundle>/.live`, gone with its last holder.

Standard library only. A flock needs no clean-up: the kernel drops it whatever way a process ends.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

LIVE_FILE = ".live"


def hold_live(bundle: Path) -> IO[bytes]:
    """Mark the bundle as being written by this process until the returned file is closed or the process ends. Raises OSError."""
    handle = open(bundle / LIVE_FILE, "ab")  # noqa: SIM115 - the open file *is* the lock
    fcntl.flock(handle, fcntl.LOCK_SH)
    return handle


def is_live(bundle: Path) -> bool:
    """Whether any process holds the bundle. A bundle without the file is not live."""
    try:
        handle = open(bundle / LIVE_FILE, "rb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return False
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
