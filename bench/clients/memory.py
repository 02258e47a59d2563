"""Memory of a tool with all the processes that it starts, while its streams open."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress
from statistics import median
from typing import NamedTuple

import psutil
from clients.stand_in import StandIn

_EVERY_S = 0.5


class Look(NamedTuple):
    """One look at a tool."""

    open_before: int
    open_after: int
    """Streams that were open when the look began, and when it ended: reading takes a while."""
    mib: float
    """Proportional set sizes of all its processes together."""


def watch(process: subprocess.Popen[bytes], server: StandIn, give_up_s: float) -> list[Look]:
    """Look twice a second until a process ends. Raises subprocess.TimeoutExpired after `give_up_s`."""
    root, looks, end_s = psutil.Process(process.pid), [], time.monotonic() + give_up_s
    while process.poll() is None:
        if time.monotonic() > end_s:
            raise subprocess.TimeoutExpired(process.args, give_up_s)
        with suppress(psutil.NoSuchProcess):
            open_before = server.open_streams()
            mib = sum(_pss_mib(each) for each in [root, *root.children(recursive=True)])
            looks.append(Look(open_before, server.open_streams(), mib))
        with suppress(subprocess.TimeoutExpired):
            process.wait(_EVERY_S)
    return looks


def with_streams(looks: list[Look], streams: int) -> tuple[float, float] | None:
    """MiB just before the streams are opened, and with at least nine tenths of them open (median); None where no look saw that."""
    full = [place for place, look in enumerate(looks) if min(look[:2]) >= 0.9 * streams]
    if not full:
        return None
    before = [look for look in looks[: full[0]] if max(look[:2]) <= 0.01 * streams]
    return (before[-1].mib, median(looks[place].mib for place in full)) if before else None


def _pss_mib(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return float(process.memory_full_info().pss) / 2**20
    return 0.0
