"""The load client beside the engine: which cores it runs on, and the CPU time that it takes from the host.

The client is the session, which sends requests and takes answers; for an engine that is a server (`Capabilities.served`) also the
worker, which then only talks to it. On a host that serves as well, its share of the host's energy is told apart by CPU time.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

from tpb_core.api.errors import BadInput


def busy_cpu_s() -> float:
    """CPU seconds that this machine has worked since it was started: all but idle, waiting and stolen time. Step: 10 ms."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def read_cores(text: str) -> set[int]:
    """Cores as people write them: `0-3,8`. Raises BadInput for what is no list of cores, or names one that this process may not use."""
    example = "Type for example run.client_cores=0-1"
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isascii() or not first.isdigit() or (dash and not last.isdigit()):
            raise BadInput(f"run.client_cores={text}: {part.strip()!r} is no core and no range of cores", example)
        found |= set(range(int(first), int(last or first) + 1))
    allowed = os.sched_getaffinity(0)
    if strange := sorted(found - allowed):
        listed = ", ".join(map(str, sorted(allowed)))
        raise BadInput(f"run.client_cores={text}: core {strange[0]} cannot be used here", f"Cores of this process: {listed}. {example}")
    if not found:
        raise BadInput(f"run.client_cores={text}: these are no cores", example)
    return found


def pin(pid: int, cores: set[int]) -> None:
    """Let every thread of a process run on these cores only; children that it starts later inherit them."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


class ClientCores:
    """The cores of one run: the session, and so the sampler, on those of `run.client_cores`, what computes on all that there were."""

    def __init__(self, asked: str | None) -> None:
        """Without `asked` nothing is pinned. Raises BadInput."""
        self.all = os.sched_getaffinity(0)
        self.chosen = None if asked is None else read_cores(asked)

    def pin_session(self) -> None:
        """Before the sampler and the worker are started."""
        if self.chosen is not None:
            pin(os.getpid(), self.chosen)

    def pin_worker(self, pid: int | None, *, is_client: bool) -> None:
        """Before the engine is opened, so that it and a server that it starts have all cores; and after it, where it is only a client."""
        if self.chosen is not None and pid is not None:
            pin(pid, self.chosen if is_client else self.all)

    def free_session(self) -> None:
        """At the end of the run."""
        if self.chosen is not None:
            pin(os.getpid(), self.all)
