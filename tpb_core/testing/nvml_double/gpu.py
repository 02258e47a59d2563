"""One GPU of a scene: identity, traces, sensor behaviour and what goes wrong with it, written as lines of the scene file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tpb_core.testing.nvml_double.sensor import SensorModel
from tpb_core.testing.nvml_double.trace import PowerTrace

NEVER_ENDS_S = 9e9


@dataclass(frozen=True)
class MigSlice:
    """A slice of a board, as NVML lists it."""

    uuid: str
    slices: int
    gpu_instance: int = 1
    compute_instance: int = 0
    multiprocessors: int = 14
    memory_mb: int = 9856


@dataclass(frozen=True)
class GpuSpec:
    """Everything that a scene can say of a GPU. Times are seconds after the scene's origin, powers watts."""

    sensor: SensorModel
    trace: PowerTrace
    uuid: str
    name: str
    pci: str
    module_trace: PowerTrace | None = None
    memory_trace: PowerTrace | None = None
    phase_ms: float = 0.0
    counter_phase_ms: float = 0.0
    delay_ms: float = 0.0
    gain: float = 1.0
    offset_w: float = 0.0
    noise_w: float = 0.0
    quantum_mw: int = 1
    window_ms: float | None = None
    refresh_ms: float | None = None
    counter_refresh_ms: float | None = None
    counter_base_j: float = 0.0
    counter_from_samples: bool = False
    """The counter adds up the sensor's readings instead of integrating the truth."""
    stamp_is_refresh: bool = False
    """Field values are stamped with the sensor's refresh instead of the call."""
    unsupported: tuple[tuple[int, int | None], ...] = ()
    """Field ids and scopes (None: all) that answer "not supported"; field 83 is the counter, field 0 `nvmlDeviceGetPowerUsage`."""
    absent_s: tuple[tuple[float, float | None], ...] = ()
    reset_s: tuple[float, ...] = ()
    """Driver resets: the counter restarts at 0 and handles from before are lost."""
    zero_s: tuple[tuple[float, float | None], ...] = ()
    zero_every: int = 0
    failures: tuple[tuple[float, float | None, int, int], ...] = ()
    """`(from, until, field or 0, NVML return code)`."""
    processes: tuple[tuple[float, float | None, int, int], ...] = ()
    """`(from, until, pid, bytes)`."""
    mig: tuple[MigSlice, ...] = ()
    mig_mode: bool = False
    temperature_c: int = 45
    sm_mhz: int = 1755
    mem_mhz: int = 2619
    utilisation: int = 80
    memory_utilisation: int = 40
    reasons: int = 0
    memory_bytes: int = 80 * 2**30
    multiprocessors: int = 132
    serial: str = ""
    extra_lines: tuple[str, ...] = field(default=())

    def lines(self) -> Iterator[str]:
        """The lines of this GPU in the scene file."""
        yield "gpu"
        yield from (f"uuid {self.uuid}", f"name {self.name}", f"pci {self.pci}")
        if self.serial:
            yield f"serial {self.serial}"
        yield from self._sensor_lines()
        yield from self._trouble_lines()
        yield from (f"temperature_c {self.temperature_c}", f"sm_mhz {self.sm_mhz}", f"mem_mhz {self.mem_mhz}", f"reasons {self.reasons}")
        yield from (f"utilisation {self.utilisation}", f"memory_utilisation {self.memory_utilisation}", f"memory_total {self.memory_bytes}")
        for which, trace in (("gpu", self.trace), ("module", self.module_trace), ("memory", self.memory_trace)):
            if trace is not None:
                yield from (f"point {which} {_ns(t_s)} {round(watts * 1000)}" for t_s, watts in trace.levels)
                if trace.period_s is not None:
                    yield f"period {which} {_ns(trace.period_s)}"
        yield from self.extra_lines

    def _sensor_lines(self) -> Iterator[str]:
        sensor = self.sensor
        low_w, high_w, default_w = sensor.limits_w
        refresh_ms = self.refresh_ms if self.refresh_ms is not None else sensor.refresh_ms
        window_ms = self.window_ms if self.window_ms is not None else sensor.window_ms
        counter_ms = self.counter_refresh_ms if self.counter_refresh_ms is not None else sensor.counter_refresh_ms
        yield from (f"architecture {sensor.architecture}", f"cuda_major {sensor.cuda[0]}", f"cuda_minor {sensor.cuda[1]}")
        yield from (f"window_ns {_ms(window_ms)}", f"refresh_ns {_ms(refresh_ms)}", f"phase_ns {_ms(self.phase_ms)}")
        yield from (
            f"delay_ns {_ms(self.delay_ms)}",
            f"counter_refresh_ns {_ms(counter_ms)}",
            f"counter_phase_ns {_ms(self.counter_phase_ms)}",
        )
        yield from (f"average_window_ns {_ms(sensor.average_window_ms)}", f"average_refresh_ns {_ms(refresh_ms)}")
        yield from (f"power_usage_is_average {int(sensor.power_usage_is_average)}", f"stamp_is_refresh {int(self.stamp_is_refresh)}")
        yield from (f"counter_from_samples {int(self.counter_from_samples)}", f"counter_scope {int(sensor.module)}")
        yield from (f"counter_base_mj {round(self.counter_base_j * 1000)}", f"gain {self.gain!r}", f"offset_mw {self.offset_w * 1000!r}")
        yield from (f"noise_mw {round(self.noise_w * 1000)}", f"quantum_mw {self.quantum_mw}", f"multiprocessors {self.multiprocessors}")
        yield from (
            f"limit_min_mw {round(low_w * 1000)}",
            f"limit_max_mw {round(high_w * 1000)}",
            f"limit_default_mw {round(default_w * 1000)}",
        )
        yield from (f"mig_slices_total {sensor.mig_slices}", f"mig_mode {int(self.mig_mode)}")

    def _trouble_lines(self) -> Iterator[str]:
        yield from (f"unsupported {number} {-1 if scope is None else scope}" for number, scope in self.unsupported)
        yield from (f"absent {_span(*span)}" for span in self.absent_s)
        yield from (f"reset {_ns(t_s)}" for t_s in self.reset_s)
        yield from (f"zero {_span(*span)}" for span in self.zero_s)
        yield f"zero_every {self.zero_every}"
        yield from (f"failure {_span(start, end)} {number} {code}" for start, end, number, code in self.failures)
        yield from (f"process {_span(start, end)} {pid} {used}" for start, end, pid, used in self.processes)
        yield from (f"mig {m.uuid} {m.gpu_instance} {m.compute_instance} {m.slices} {m.multiprocessors} {m.memory_mb}" for m in self.mig)


def _ns(t_s: float) -> int:
    return round(t_s * 1e9)


def _ms(t_ms: float) -> int:
    return round(t_ms * 1e6)


def _span(start_s: float, end_s: float | None) -> str:
    return f"{_ns(start_s)} {_ns(NEVER_ENDS_S if end_s is None else end_s)}"
