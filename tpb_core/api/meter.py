"""The meter interface: which channels exist here, and read them. Scheduling, spooling and overhead belong to the sampler."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Protocol, TypeVar

from tpb_core.api.channel import Channel, Reading
from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_core.api.options import option
from tpb_core.api.versions import METER_INTERFACE


@dataclass
class MeterConfig:
    """Options that every meter has. A plugin's config class extends it."""

    name: str = option("???", help="entry-point name of the meter")
    interval_ms: float = option(100.0, help="time between two readings", unit="ms")
    required: bool = option(False, help="refuse the run before the model is loaded when this meter does not work")


ReportEvent = Callable[[EventCode, str, str | None], None]
"""`report(code, message, channel)`: an event of the run, written by the sampler."""


@dataclass
class MeterContext:
    """What the core tells a meter about the run. Lives in the sampler process (on a virtual clock, in the session process)."""

    clock: Clock
    run_id: str
    report_event: ReportEvent
    node: str = "n0"
    machine_id: str = "unknown"
    """Stable id of this machine: the first half of the `sensor` of sensors that have no serial number of their own."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Environment of the engine (`CUDA_VISIBLE_DEVICES` decides which devices are allocated)."""


C_co = TypeVar("C_co", bound=MeterConfig, covariant=True)


class Meter(ABC, Generic[C_co]):
    """One driver for one kind of sensor. Built, opened, read and closed in the sampler process, by one thread.

    Order of calls: `discover`, `open`, then `read` every `config.interval_ms`, with `engine_started` and `at_window_edge` in between,
    and `close` (which must be idempotent and must work after a failed `open`). Module import must be light; load vendor libraries in
    `discover` or later.
    """

    interface_version: ClassVar[str] = METER_INTERFACE
    config_class: ClassVar[type[MeterConfig]] = MeterConfig
    virtual_time: ClassVar[bool] = False
    """True for a meter that reads a simulated world: it runs on a virtual clock only, all others on the real clock only."""

    def __init__(self, config: C_co, context: MeterContext) -> None:
        self.config = config
        self.context = context

    @abstractmethod
    def discover(self) -> list[Channel]:
        """The channels that can be read here, at least one. Takes at most a few seconds and needs no privileges beyond reading.

        Raises `Unavailable` with a reason code and what to type where none can.
        """

    def open(self) -> None:
        """Take what reading needs (handles, file descriptors, a subprocess). May raise `Unavailable`."""

    @abstractmethod
    def read(self) -> Iterable[Reading]:
        """What the sensors say now: any number of readings, each with its own stamps on `context.clock`.

        Polled meters stamp before and after each call to the device. Push sources (a subprocess that prints, an HTTP stream) return
        what came in since the last call. A channel that could not be read is left out and reported as an event, never a zero.
        Channels that need a slower rate than `interval_ms` (temperatures) are left out of most calls.
        """

    def engine_started(self, pids: Sequence[int]) -> None:
        """The engine's processes; called again when they change. For meters that look at processes."""

    def at_window_edge(self, window: str) -> None:
        """Called at the start and the end of each window, for checks too dear to poll (foreign processes on a GPU)."""

    def close(self) -> None:
        """Give everything back. Idempotent."""


class PowerControl(Protocol):
    """Capability of a meter that can set its devices' power limit or lock their clocks. The sampler restores, whatever happens."""

    def set_power_limit(self, device: str, limit_w: float) -> float:
        """Set the limit and return the effective one in watts. Raises `Unavailable` (permission) or `BadInput` (out of range)."""

    def lock_clocks(self, device: str, low_mhz: int, high_mhz: int) -> None:
        """Lock the compute clock of a device to a range in MHz."""

    def restore(self) -> list[str]:
        """Put back what was found before the first change; returns the devices restored. Idempotent."""
