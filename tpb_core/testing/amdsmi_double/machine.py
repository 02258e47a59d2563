"""AMD GPUs with known power traces, and what is wrong with their counters. The stand-in module reads `AmdMachine.current`."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tpb_core.testing.nvml_double.trace import PowerTrace

MODULES = Path(__file__).parent / "modules"
"""Folder with the stand-in module `amdsmi`."""
ABSENT = 0xFFFF


@dataclass
class AmdGpu:
    """One processor of amdsmi's list. `power` says which socket power it gives: `current` (MI300), `average` (MI200), `none`."""

    uuid: str
    trace: PowerTrace
    model: str = "AMD Instinct MI300X"
    serial: str = ""
    hip_id: int | None = None
    driver: str = "6.12.12"
    power: str = "current"
    resolution_uj: float = 15.259
    has_counter: bool = True
    counter_factor: float = 1.0
    """What the counter gives over what was drawn; 0 is a frozen one."""
    frozen_after_s: float | None = None
    fails: str | None = None
    """Name of a call that fails with status 2 (not supported)."""
    processes: list[int] = field(default_factory=list)


@dataclass
class AmdMachine:
    """GPUs in amdsmi's order. `status` is what `amdsmi_init` answers; `now_ns` is CLOCK_MONOTONIC or a test's own clock."""

    gpus: list[AmdGpu]
    status: int = 0
    origin_ns: int = field(default_factory=time.monotonic_ns)
    now_ns: Callable[[], int] = time.monotonic_ns
    current: ClassVar[AmdMachine | None] = None

    def t_s(self) -> float:
        """Seconds of the traces."""
        return (self.now_ns() - self.origin_ns) / 1e9

    def power_w(self, gpu: AmdGpu) -> int:
        """Socket power in whole watts, as the driver gives it."""
        return round(gpu.trace.power_w(self.t_s()))

    def counts(self, gpu: AmdGpu) -> int:
        """The energy accumulator."""
        t_s = self.t_s() if gpu.frozen_after_s is None else min(self.t_s(), gpu.frozen_after_s)
        return int((5000.0 + gpu.counter_factor * gpu.trace.energy_j(0, t_s)) / (gpu.resolution_uj * 1e-6))

    @contextlib.contextmanager
    def importable(self) -> Iterator[AmdMachine]:
        """Make `import amdsmi` find the stand-in, which shows this machine."""
        before, kept = AmdMachine.current, sys.modules.pop("amdsmi", None)
        AmdMachine.current = self
        sys.path.insert(0, str(MODULES))
        try:
            yield self
        finally:
            AmdMachine.current = before
            sys.path.remove(str(MODULES))
            sys.modules.pop("amdsmi", None)
            if kept is not None:
                sys.modules["amdsmi"] = kept
