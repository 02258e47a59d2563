"""The amdsmi meter: discovers sockets and their channels, judges their counters, reads them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

from tpb_core.api import Channel, EventCode, Meter, MeterContext, Reading, Reason, Unavailable
from tpb_core.api.faults import Faults
from tpb_core.api.own_processes import OwnProcesses
from tpb_meter_amdsmi.allocation import allocate, visible_dies
from tpb_meter_amdsmi.binding import ask, load_binding, number, start_amdsmi
from tpb_meter_amdsmi.channels import TRANSIENT_FACTOR, Found, Part, channels_of, domain_of
from tpb_meter_amdsmi.config import AmdsmiConfig
from tpb_meter_amdsmi.counter import Verdict, energy_j, judge
from tpb_meter_amdsmi.die import Socket, list_dies, powers_of, sockets_of
from tpb_meter_amdsmi.reader import SocketReader


class AmdsmiMeter(Meter[AmdsmiConfig]):
    """AMD GPUs: the energy counter where it can be believed, socket power, context."""

    config_class = AmdsmiConfig

    def __init__(self, config: AmdsmiConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._smi: Any = None
        self._handles: dict[str, Any] = {}
        self._readers: list[tuple[Socket, Part, SocketReader]] = []
        self._faults = Faults(context.report_event, context.clock)
        self._own = OwnProcesses()
        self._gauges_due_ns = 0

    def discover(self) -> list[Channel]:
        """Channels of all sockets; those that the run does not use come with `allocated` false.

        Raises Unavailable: `not_installed`, `no_sensor`, `no_permission`, `unsupported`, `mig_slice`, `not_configured`.
        """
        self.close()
        smi = load_binding()
        start_amdsmi(smi)
        self._smi = smi
        try:
            return self._discover(smi)
        except BaseException:
            self.close()
            raise

    def _discover(self, smi: Any) -> list[Channel]:
        listed = list_dies(smi)
        if not listed:
            raise Unavailable("amdsmi lists no AMD GPU", reason=Reason.NO_SENSOR, fix="amd-smi list")
        self._handles = {die.uuid: handle for die, handle in listed}
        dies = [die for die, _ in listed]
        sockets = sockets_of(dies)
        visible = visible_dies(dies, self.config.devices, self.context.environ)
        for note in visible.notes:
            self.context.report_event(EventCode.METER_ERROR, note, None)
        parts = allocate(sockets, visible, self.config.partial)
        speakers = {socket.speaker.uuid: self._handles[socket.speaker.uuid] for socket in sockets}
        verdicts = judge(smi, speakers, self.context.clock, self.config.check_s)
        channels: list[Channel] = []
        for socket, part in zip(sockets, parts, strict=True):
            channels += self._describe(socket, part, verdicts[socket.speaker.uuid])
        if not any(channel.kind in ("energy_counter", "power") for channel in channels):
            raise Unavailable("none of the AMD GPUs here gives energy or power", reason=Reason.UNSUPPORTED, fix="amd-smi metric --power")
        return channels

    def _describe(self, socket: Socket, part: Part, verdict: Verdict) -> list[Channel]:
        smi, handle = self._smi, self._handles[socket.speaker.uuid]
        counter = energy_j(ask(smi, smi.amdsmi_get_energy_count, handle))
        cap = number((ask(smi, smi.amdsmi_get_power_cap_info, handle) or {}).get("max_power_cap"))
        found = Found(
            powers=tuple(powers_of(ask(smi, smi.amdsmi_get_power_info, handle))),
            resolution_j=counter[1] if counter else None,
            verdict=verdict,
            cap_w=cap * 1e-6 * TRANSIENT_FACTOR if cap else None,
        )
        self._tell(socket, part, verdict)
        if not found.powers and verdict.word != "fine":
            return []
        channels = list(channels_of(socket, part, found, self.context.node))
        self._readers.append((socket, part, SocketReader(smi, handle, channels, self.context.clock, self._faults)))
        return channels

    def _tell(self, socket: Socket, part: Part, verdict: Verdict) -> None:
        report, domain = self.context.report_event, domain_of(socket, self.context.node)
        speaker = f"{socket.speaker.model} {socket.speaker.uuid}"
        if part.refused is not None:
            report(EventCode.METER_UNAVAILABLE, f"{Reason.MIG_SLICE}: {part.refused}", None)
        elif not part.allocated:
            report(EventCode.DEVICE_UNUSED, f"{speaker} is not used by the run", None)
        if verdict.word == "frozen":
            report(
                EventCode.STUCK_SENSOR,
                f"{speaker}: the energy counter stands still while power is drawn; power is used",
                f"{domain}/energy",
            )
        elif verdict.word == "wrong":
            words = f"{speaker}: the energy counter gives {verdict.ratio:.2f} of the integrated power; power is used"
            report(EventCode.METER_DISAGREEMENT, words, f"{domain}/energy")
        elif verdict.word == "absent":
            report(EventCode.METER_UNAVAILABLE, f"{Reason.UNSUPPORTED}: {speaker} has no energy counter", f"{domain}/energy")

    def open(self) -> None:
        """Handles are those of `discover`, which runs first if it has not."""
        if self._smi is None:
            self.discover()

    def read(self) -> Iterable[Reading]:
        """Energy and powers of all sockets, and once a second the gauges of those that the run uses."""
        readings: list[Reading] = []
        due = self.context.clock.now_ns() >= self._gauges_due_ns
        for _, part, reader in self._readers:
            readings += reader.read()
            if due and part.allocated:
                readings += reader.read_gauges()
        if due:
            self._gauges_due_ns = self.context.clock.now_ns() + round(self.config.gauge_interval_ms * 1e6) - 1_000_000
        return readings

    def engine_started(self, pids: Sequence[int]) -> None:
        """The engine's processes: they and their children are no strangers."""
        self._own.add(pids)

    def at_window_edge(self, window: str) -> None:
        """Look for other people's processes on the run's GPUs."""
        for socket, part, _ in self._readers:
            if not part.allocated:
                continue
            for die in socket.dies:
                listed = ask(self._smi, self._smi.amdsmi_get_gpu_process_list, self._handles[die.uuid]) or []
                for pid in sorted({int(row["pid"]) for row in listed if isinstance(row, dict) and "pid" in row}):
                    if self._own.has(pid) is False:
                        message = f"process {pid} ({self._own.name(pid)}) on {die.uuid} at an edge of {window}"
                        self.context.report_event(EventCode.FOREIGN_PROCESS, message, f"{domain_of(socket, self.context.node)}/power")

    def close(self) -> None:
        """Tell what was counted, and let go of the library."""
        self._faults.flush()
        self._readers.clear()
        self._handles.clear()
        if self._smi is not None:
            with contextlib.suppress(self._smi.AmdSmiException):  # the driver may be gone, and with it what would be shut down
                self._smi.amdsmi_shut_down()
            self._smi = None
