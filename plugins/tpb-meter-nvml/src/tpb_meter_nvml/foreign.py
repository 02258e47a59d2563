"""Processes on our GPUs that are not ours, looked for at window edges only: the question costs milliseconds and may stall the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tpb_core.api.own_processes import OwnProcesses


def foreign_on(nvml: Any, handle: Any, own: OwnProcesses) -> Sequence[str]:
    """Each process on a device that is not ours, in words. Empty where the driver does not tell."""
    found: dict[int, int | None] = {}
    for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        try:
            found.update({int(process.pid): process.usedGpuMemory for process in ask(handle)})
        except nvml.NVMLError:
            continue
    return [
        f"process {pid} ({own.name(pid)})" + (f" with {used / 2**20:.0f} MiB" if used else "")
        for pid, used in sorted(found.items())
        if not own.has(pid)
    ]
