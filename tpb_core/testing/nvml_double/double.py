"""The builder of a scene: which GPUs a machine has, what they draw, and how the process under test finds them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
import uuid as uuids
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tpb_core.testing.nvml_double.clock import VirtualClock
from tpb_core.testing.nvml_double.gpu import GpuSpec
from tpb_core.testing.nvml_double.library import SONAME, compile_library
from tpb_core.testing.nvml_double.sensor import SENSORS
from tpb_core.testing.nvml_double.trace import PowerTrace

PERMISSIONS = {"full": 0, "read_only": 1, "none": 2}


class NvmlDouble:
    """`NvmlDouble(folder).gpu("h100", trace).build()` returns the environment variables for a process that is to see these GPUs.

    Without `clock` the double runs on CLOCK_MONOTONIC and CLOCK_REALTIME, its traces beginning when `build` is called (`origin_ns`);
    with a `VirtualClock`, on simulated time, traces beginning at 0. Power limits and clock locks outlive processes, in `folder/state`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        clock: VirtualClock | None = None,
        library: Path | None = None,
        driver: str = "580.95.05",
        permission: str = "full",
        latency_us: float = 0.0,
    ) -> None:
        self.folder = folder
        self.clock = clock
        self.driver = driver
        self.permission = permission
        self.latency_us = latency_us
        self.gpus: list[GpuSpec] = []
        self.origin_ns = 0
        self._library = library

    @property
    def scene(self) -> Path:
        """The scene file."""
        return self.folder / "scene.txt"

    @property
    def state(self) -> Path:
        """Folder of settings that outlive a process, and of `changes.log`."""
        return self.folder / "state"

    def gpu(self, sensor: str = "h100", trace: PowerTrace | None = None, **fields: Any) -> NvmlDouble:
        """Add a GPU: a sensor class of `SENSORS`, its power trace (150 W when not given) and any field of `GpuSpec`."""
        number, model = len(self.gpus), SENSORS[sensor]
        identity = str(uuids.uuid5(uuids.NAMESPACE_OID, f"{self.folder.name}/{sensor}/{number}"))
        power = trace or PowerTrace.constant(150.0)
        defaults: dict[str, Any] = {"uuid": f"GPU-{identity}", "name": model.name, "pci": f"00000000:{7 + number:02X}:00.0"}
        if model.module:
            defaults |= {"module_trace": power.scaled(1.0, plus_w=80.0), "memory_trace": power.scaled(0.15)}
        elif sensor == "h100":
            defaults["memory_trace"] = power.scaled(0.15)
        if "memory_trace" in defaults:
            defaults["unsupported"] = ((186, 2),)  # memory power is seen as an average only
        self.gpus.append(GpuSpec(sensor=model, trace=power, **(defaults | fields)))
        return self

    def build(self) -> dict[str, str]:
        """Compile the library, write the scene, and return `LD_LIBRARY_PATH` and `TPB_NVML_SCENE`."""
        library = self._library or compile_library(self.folder)
        self.state.mkdir(parents=True, exist_ok=True)
        self.origin_ns = 0 if self.clock else time.monotonic_ns()
        self.rewrite()
        before = os.environ.get("LD_LIBRARY_PATH")
        return {
            "LD_LIBRARY_PATH": os.pathsep.join([str(library.parent), *([before] if before else [])]),
            "TPB_NVML_SCENE": str(self.scene),
        }

    def rewrite(self) -> None:
        """Write the scene again, origin unchanged; a process sees it at its next initialisation of NVML."""
        head = [f"driver {self.driver}", f"origin_ns {self.origin_ns}", f"latency_ns {round(self.latency_us * 1000)}"]
        head += [f"permission {PERMISSIONS[self.permission]}", f"state {self.state}"]
        head += [f"clock {self.clock.path}"] if self.clock else []
        lines = [*head, *(line for gpu in self.gpus for line in gpu.lines())]
        unfinished = self.scene.with_suffix(".part")
        unfinished.write_text("\n".join(lines) + "\n")
        unfinished.replace(self.scene)

    def run_s(self, t_ns: int) -> float:
        """A time of the run clock (ns) as seconds of the traces."""
        return (t_ns - self.origin_ns) / 1e9

    def settings(self, gpu: int) -> tuple[float, int, int]:
        """What the driver would show: power limit in watts and the clock lock (0, 0 where none)."""
        spec = self.gpus[gpu]
        path = self.state / f"{spec.uuid}.settings"
        if not path.exists():
            return spec.sensor.limits_w[2], 0, 0
        limit_mw, low_mhz, high_mhz = path.read_text().split()
        return int(limit_mw) / 1000, int(low_mhz), int(high_mhz)

    def changes(self) -> list[list[str]]:
        """Every setting that was changed, in order: `[pid, uuid, what, limit_mw, low_mhz, high_mhz]`."""
        path = self.state / "changes.log"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    @contextlib.contextmanager
    def in_process(self) -> Iterator[dict[str, str]]:
        """Make this process see the double: the library is loaded first, so that the loader hands it out by its soname.

        NVML must not be initialised at entry; it is shut down for the scene to be read again at the next initialisation.
        """
        environment = self.build()
        before = os.environ.get("TPB_NVML_SCENE")
        os.environ["TPB_NVML_SCENE"] = environment["TPB_NVML_SCENE"]
        library = ctypes.CDLL(str(Path(environment["LD_LIBRARY_PATH"].split(os.pathsep)[0]) / SONAME))
        while library.nvmlShutdown() == 0:
            pass
        try:
            yield environment
        finally:
            while library.nvmlShutdown() == 0:
                pass
            if before is None:
                del os.environ["TPB_NVML_SCENE"]
            else:
                os.environ["TPB_NVML_SCENE"] = before
