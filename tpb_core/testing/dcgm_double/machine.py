"""A machine as DCGM sees it: GPUs with known power traces and Grace CPUs, written to a file that the stand-ins read."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from tpb_core.testing.nvml_double.trace import PowerTrace

POWER_USAGE, ENERGY, POWER_INSTANT = 155, 156, 157
CONTEXT = {150: 55, 100: 1755, 101: 2619, 112: 4}
PROFILING = {1001: 0.91, 1002: 0.62, 1003: 0.34, 1004: 0.21, 1005: 0.77}
WHOLE = {ENERGY, *CONTEXT}
"""Fields whose values are whole numbers."""


@dataclass
class DcgmGpu:
    """A GPU. `blank` fields are not supported; `zero_every` makes every nth power value 0; `sliced` puts it in MIG mode."""

    uuid: str
    trace: PowerTrace
    name: str = "NVIDIA H100 80GB HBM3"
    blank: tuple[int, ...] = ()
    zero_every: int = 0
    sliced: bool = False
    base_j: float = 1000.0
    driver: str = "570.86.15"


@dataclass
class GraceCpu:
    """A Grace socket with constant powers in watts."""

    cpu_w: float = 120.0
    limit_w: float = 500.0
    sysio_w: float = 15.0
    module_w: float = 560.0


@dataclass
class DcgmMachine:
    """GPUs and CPUs by DCGM's numbers. Traces begin at `origin_ns` (CLOCK_MONOTONIC)."""

    gpus: list[DcgmGpu] = field(default_factory=list)
    cpus: list[GraceCpu] = field(default_factory=list)
    origin_ns: int = field(default_factory=time.monotonic_ns)
    ends_after_s: float | None = None
    """`dcgmi dmon` ends this long after its start, as when the host engine goes away."""

    def entities(self) -> list[tuple[str, int]]:
        """(kind, number) of all entities, GPUs first."""
        return [("GPU", n) for n in range(len(self.gpus))] + [("CPU", n) for n in range(len(self.cpus))]

    def value(self, kind: str, number: int, wanted: int, t_ns: int, cycle: int = 1) -> float | int | None:
        """A field's value at a time of CLOCK_MONOTONIC; None where it is blank. Energy in mJ, powers in W, as DCGM gives them."""
        if kind == "CPU":
            cpu = self.cpus[number]
            return {1130: cpu.cpu_w, 1131: cpu.limit_w, 1132: cpu.sysio_w, 1133: cpu.module_w}.get(wanted)
        gpu = self.gpus[number]
        t_s = (t_ns - self.origin_ns) / 1e9
        if wanted in gpu.blank:
            return None
        if wanted in (POWER_USAGE, POWER_INSTANT) and gpu.zero_every and cycle % gpu.zero_every == 0:
            return 0.0
        if wanted == ENERGY:
            return int((gpu.base_j + gpu.trace.energy_j(0, t_s)) * 1000)
        if wanted == POWER_INSTANT:
            return gpu.trace.power_w(t_s)
        if wanted == POWER_USAGE:
            return gpu.trace.energy_j(t_s - 1, t_s)
        return CONTEXT.get(wanted, PROFILING.get(wanted))

    def write(self, path: Path) -> Path:
        """Write the machine to a file."""
        path.write_text(json.dumps(dataclasses.asdict(self)))
        return path

    @classmethod
    def load(cls, path: Path) -> DcgmMachine:
        """The machine of a file."""
        row = json.loads(path.read_text())
        gpus = []
        for gpu in row.pop("gpus"):
            trace = gpu.pop("trace")
            levels = tuple((t_s, watts) for t_s, watts in trace["levels"])
            gpus.append(DcgmGpu(trace=PowerTrace(levels, trace["period_s"]), **gpu))
        return cls(gpus=gpus, cpus=[GraceCpu(**cpu) for cpu in row.pop("cpus")], **row)
