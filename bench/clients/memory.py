"""Memory of a tool with all the processes that it starts."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

import psutil

_EVERY_S = 0.5


def peak_mib(process: subprocess.Popen[bytes], give_up_s: float) -> float:
    """Wait for the end of a process; MiB of the largest sum of proportional set sizes of it and its descendants, looked at twice a second.

    Raises subprocess.TimeoutExpired after `give_up_s`.
    """
    root, peak, end_s = psutil.Process(process.pid), 0.0, time.monotonic() + give_up_s
    while process.poll() is None:
        if time.monotonic() > end_s:
            raise subprocess.TimeoutExpired(process.args, give_up_s)
        with suppress(psutil.NoSuchProcess):
            peak = max(peak, sum(_pss_mib(each) for each in [root, *root.children(recursive=True)]))
        with suppress(subprocess.TimeoutExpired):
            process.wait(_EVERY_S)
    return peak


def _pss_mib(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return float(process.memory_full_info().pss) / 2**20
    return 0.0
