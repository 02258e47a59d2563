"""Processes on our GPUs that are not ours, looked for at window edges only: the question costs milliseconds and may stall the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tpb_core.api.own_processes import OwnProcesses


@dataclass(frozen=True)
class Company:
    """Who else is on a device: strangers in words, and how many processes cannot be told from our own."""

    strangers: tuple[str, ...] = ()
    unseen: int = 0


def company_on(nvml: Any, handle: Any, own: OwnProcesses) -> Company:
    """Processes on a device that are not ours. Nobody where the driver does not tell."""
    found: dict[int, int | None] = {}
    for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        try:
            found.update({int(process.pid): process.usedGpuMemory for process in ask(handle)})
        except nvml.NVMLError:
            continue
    verdicts = {pid: own.has(pid) for pid in sorted(found)}
    strangers = tuple(
        f"process {pid} ({own.name(pid)})" + (f" with {(found[pid] or 0) / 2**20:.0f} MiB" if found[pid] else "")
        for pid, ours in verdicts.items()
        if ours is False
    )
    return Company(strangers, sum(ours is None for ours in verdicts.values()))
