"""The DCGM meter: finds a way to DCGM, describes what it offers, and hands on its values as readings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tpb_core.api import Channel, EventCode, Meter, MeterContext, Reading, Reason, Unavailable
from tpb_core.api.gpu_sensors import counts_a_module
from tpb_core.api.visible import GpuIdentity, VisibleGpus, cuda_visible
from tpb_meter_dcgm.channels import Setting, channels_of
from tpb_meter_dcgm.choose import choose
from tpb_meter_dcgm.config import DcgmConfig
from tpb_meter_dcgm.entity import Backend, Entity, Value
from tpb_meter_dcgm.exporter import ExporterBackend

QUIET_NS = 10_000_000_000


class DcgmMeter(Meter[DcgmConfig]):
    """GPUs, and the CPUs of Grace, through `dcgmi dmon`, DCGM's bindings or a dcgm-exporter."""

    config_class = DcgmConfig

    def __init__(self, config: DcgmConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._backend: Backend | None = None
        self._channels: dict[tuple[str, int, int], Channel] = {}
        self._told_ns: dict[tuple[str, str | None], int] = {}
        self._zeros: dict[str, int] = {}

    def discover(self) -> list[Channel]:
        """Channels of all entities; GPUs that the run does not use come with `allocated` false.

        Raises Unavailable: `not_installed`, `unreachable`, `no_sensor`, `unsupported`, `mig_slice`, `not_configured`.
        """
        self.close()
        backend, entities, failures = choose(self.config, self.context.clock)
        self._backend = backend
        try:
            self._describe(backend, entities)
        except Unavailable:
            self.close()
            raise
        if not any(channel.kind in ("energy_counter", "power") for channel in self._channels.values()):
            self.close()
            raise Unavailable("DCGM offers neither energy nor power here", reason=Reason.UNSUPPORTED, fix="dcgmi dmon -e 155,156,157 -c 3")
        for failure in failures:
            self.context.report_event(EventCode.METER_UNAVAILABLE, f"dcgm by {failure}; {backend.name} is used", None)
        return list(self._channels.values())

    def _describe(self, backend: Backend, entities: Sequence[Entity]) -> None:
        source = backend.period_source if isinstance(backend, ExporterBackend) else "as asked for"
        setting = Setting(backend.name, backend.period_ms, source, self.context.node, self.context.machine_id)
        visible = self._visible([entity for entity in entities if entity.kind == "gpu"])
        modules = any(counts_a_module(entity.model or "") for entity in entities)
        for entity in entities:
            allocated = entity.kind == "cpu" or _name_of(entity) in visible.boards
            if not allocated:
                self.context.report_event(EventCode.DEVICE_UNUSED, f"{entity.model} {entity.uuid} is not used by the run", None)
            found = channels_of(entity, allocated=allocated, modules=modules, setting=setting)
            if entity.kind == "gpu" and 156 not in entity.fields:
                prefix = f"{self.context.node}/gpu{entity.index}"
                message = f"{Reason.UNSUPPORTED}: DCGM gives no energy counter (field 156)"
                self.context.report_event(EventCode.METER_UNAVAILABLE, message, f"{prefix}/dcgm_energy")
            self._channels |= {(entity.kind, entity.index, number): channel for number, channel in found.items()}

    def _visible(self, gpus: Sequence[Entity]) -> VisibleGpus:
        """Which GPUs the run uses. Slices are refused: DCGM gives the board's power for each of them."""
        identities = [GpuIdentity(_name_of(gpu), gpu.model or "", (), gpu.sliced) for gpu in sorted(gpus, key=lambda gpu: gpu.index)]
        environ = self.context.environ
        if self.config.devices != "auto":
            named = {"CUDA_VISIBLE_DEVICES": self.config.devices, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
            environ = {} if self.config.devices == "all" else named
        visible = cuda_visible(environ, identities)
        slices = any(gpu.sliced for gpu in gpus) or "MIG-" in environ.get("CUDA_VISIBLE_DEVICES", "").upper()
        if slices and gpus and not visible.boards:
            what = "the run owns slices (MIG) only, and DCGM knows power for whole boards only"
            raise Unavailable(what, reason=Reason.MIG_SLICE, fix="Run on a whole GPU, or use meter=nvml with meter.nvml.mig=share")
        if visible.problem is not None:
            fix = "export CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs in CUDA_VISIBLE_DEVICES, or set meter.dcgm.devices=INDEX,..."
            raise Unavailable(visible.problem, reason=Reason.NOT_CONFIGURED, fix=fix)
        for note in visible.notes:
            self.context.report_event(EventCode.METER_ERROR, note, None)
        return visible

    def open(self) -> None:
        """Start the stream, or the thread that asks the exporter."""
        if self._backend is None:
            self.discover()
        assert self._backend is not None
        self._backend.open()

    def read(self) -> Iterable[Reading]:
        """What came in since the last call. Values of zero watts are glitches: no board that answers draws nothing."""
        if self._backend is None:
            return []
        readings = []
        for value in self._backend.read():
            channel = self._channels.get((value.kind, value.number, value.field.number))
            if channel is None:
                continue
            if value.value == 0 and channel.kind == "power":
                self._zero(channel.channel)
                continue
            readings.append(_reading(channel, value))
        for complaint in self._backend.complaints():
            self._tell(EventCode.METER_ERROR, complaint, None)
        return readings

    def close(self) -> None:
        """Stop the stream or thread; tell what was counted."""
        for name, count in self._zeros.items():
            if count > 1:
                self.context.report_event(EventCode.ZERO_GLITCH, f"{count} readings of 0 were discarded in all", name)
        self._zeros.clear()
        self._channels.clear()
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _zero(self, name: str) -> None:
        self._zeros[name] = self._zeros.get(name, 0) + 1
        if self._zeros[name] == 1:
            self.context.report_event(EventCode.ZERO_GLITCH, "a reading of 0 was discarded", name)

    def _tell(self, code: EventCode, message: str, channel: str | None) -> None:
        """An event, the same words not more often than every 10 s."""
        key, now_ns = (message, channel), self.context.clock.now_ns()
        if now_ns - self._told_ns.get(key, -QUIET_NS) >= QUIET_NS:
            self._told_ns[key] = now_ns
            self.context.report_event(code, message, channel)


def _name_of(entity: Entity) -> str:
    return entity.uuid or f"gpu{entity.index}"


def _reading(channel: Channel, value: Value) -> Reading:
    clock = None if value.source_ns is None else "realtime"
    return Reading(channel.channel, value.earliest_ns, value.latest_ns, value.value * value.field.scale, value.source_ns, clock)
