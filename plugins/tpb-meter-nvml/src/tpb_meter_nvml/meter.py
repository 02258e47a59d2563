"""The NVML meter: discovers boards and their channels, reads them, and notices what happens to them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tpb_core.api import Channel, EventCode, Meter, MeterContext, Reading, Reason, Refused, Unavailable
from tpb_core.api.faults import Faults
from tpb_core.api.own_processes import OwnProcesses
from tpb_meter_nvml.allocation import Allocation, allocate, visible_gpus
from tpb_meter_nvml.binding import is_lost, load_binding, start_nvml
from tpb_meter_nvml.board import Board, list_boards
from tpb_meter_nvml.channels import Slot, ledger_slots
from tpb_meter_nvml.characterise import Refresh, find_refresh
from tpb_meter_nvml.config import NvmlConfig
from tpb_meter_nvml.control import Settings
from tpb_meter_nvml.foreign import company_on
from tpb_meter_nvml.gauges import BoardGauges
from tpb_meter_nvml.handles import Handles
from tpb_meter_nvml.journal import Journal
from tpb_meter_nvml.probe import ENERGY, INSTANT, Offer, probe
from tpb_meter_nvml.reader import BoardReader
from tpb_meter_nvml.restore import default_folder


class _Device:
    """A board that is read: its reader and, where the run uses it, its gauges."""

    def __init__(self, board: Board, part: Allocation, slots: list[Slot], reader: BoardReader, gauges: BoardGauges | None) -> None:
        self.board, self.part, self.slots, self.reader, self.gauges = board, part, slots, reader, gauges


class NvmlMeter(Meter[NvmlConfig]):
    """NVIDIA GPUs: energy counter, instantaneous and average power, memory and module power where the driver offers them.

    Satisfies `PowerControl`.
    """

    config_class = NvmlConfig

    def __init__(self, config: NvmlConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._nvml: Any = None
        self._devices: list[_Device] = []
        self._faults = Faults(context.report_event, context.clock)
        self._own = OwnProcesses()
        self._told_unseen: set[str] = set()
        self._gauges_due_ns = 0
        self._handles: Handles | None = None
        self._settings: Settings | None = None

    def discover(self) -> list[Channel]:
        """All boards' channels; boards that the run does not use come with `allocated` false.

        Raises Unavailable: `not_installed`, `no_sensor`, `no_permission`, `unsupported`, `mig_slice`, `not_configured`.
        """
        self.close()
        self._nvml = load_binding()
        start_nvml(self._nvml)
        self._handles = Handles(self._nvml, self.context.clock)
        self._settings = Settings(self._nvml, self._handles.of, self._journal(), self.context.report_event)
        try:
            return self._discover(self._handles)
        except BaseException:
            self.close()
            raise

    def _discover(self, handles: Handles) -> list[Channel]:
        listed = self._listed()
        boards = [board for board, _ in listed]
        visible = visible_gpus(boards, self.config.devices, self.context.environ)
        parts = allocate(boards, visible, self.config.mig)
        for note in visible.notes:
            self.context.report_event(EventCode.METER_ERROR, note, None)
        channels: list[Channel] = []
        offers = probe(self._nvml, {board.uuid: handle for board, handle in listed}, self.context.clock)
        for board, handle in listed:
            handles.put(board.uuid, handle)
            channels += self._describe(board, handle, offers[board.uuid], parts[board.uuid])
        if not self._devices:
            raise Unavailable(
                "none of the GPUs here offers energy or power through NVML", reason=Reason.UNSUPPORTED, fix="nvidia-smi -q -d POWER"
            )
        self._characterise(handles)
        return channels

    def _listed(self) -> list[tuple[Board, Any]]:
        nvml = self._nvml
        try:
            listed = list_boards(nvml)
        except nvml.NVMLError_NoPermission as error:
            fix = "ls -l /dev/nvidia*    (then join their group)"
            raise Unavailable("this user may not read the NVIDIA devices", reason=Reason.NO_PERMISSION, fix=fix) from error
        if not listed:
            raise Unavailable("the NVIDIA driver lists no GPU", reason=Reason.NO_SENSOR, fix="nvidia-smi")
        return listed

    def _describe(self, board: Board, handle: Any, offer: Offer, part: Allocation) -> list[Channel]:
        nvml, context = self._nvml, self.context
        slots = ledger_slots(board, offer, part, context.node)
        prefix = f"{context.node}/gpu{board.index}"
        self._tell_what_is_missing(board, offer, part, prefix)
        if not slots:
            return []
        reader = BoardReader(nvml, slots, context.clock, self._faults)
        gauges = BoardGauges(nvml, board, context.node, context.clock, self._faults) if part.allocated else None
        self._devices.append(_Device(board, part, slots, reader, gauges))
        channels = [slot.channel for slot in slots]
        if gauges is not None:
            gauges.latency_us = lambda: reader.latency_us
            channels += gauges.channels(handle, module=offer.is_module)
        return channels

    def _tell_what_is_missing(self, board: Board, offer: Offer, part: Allocation, prefix: str) -> None:
        report = self.context.report_event
        if part.refused is not None:
            report(EventCode.METER_UNAVAILABLE, f"{Reason.MIG_SLICE}: {part.refused}", None)
        elif not part.allocated:
            report(EventCode.DEVICE_UNUSED, f"{board.name} {board.uuid} is not used by the run", None)
        if not offer.has_counter:
            word = offer.refusals.get((ENERGY, 0), "no")
            report(EventCode.METER_UNAVAILABLE, f"{Reason.UNSUPPORTED}: energy counter (field {ENERGY}): {word}", f"{prefix}/energy")
        for (field, scope), word in offer.refusals.items():
            if field == INSTANT and scope == 0:
                report(
                    EventCode.METER_UNAVAILABLE, f"{Reason.UNSUPPORTED}: instantaneous power (field {INSTANT}): {word}", f"{prefix}/power"
                )

    def _characterise(self, handles: Handles) -> None:
        """Replace refresh periods of the table by those seen here."""
        watched = {device.board.uuid: handles.of(device.board.uuid) for device in self._devices if device.part.allocated}
        if self.config.characterise_s <= 0 or not watched:
            return
        found = find_refresh(self._nvml, watched, self.context.clock, self.config.characterise_s)
        for device in self._devices:
            counter = found.get((device.board.uuid, ENERGY))
            for slot in device.slots:
                if slot.field == ENERGY:
                    _put_refresh(slot.channel, counter)
                elif slot.field == INSTANT and slot.scope == 0:
                    power = found.get((device.board.uuid, INSTANT))
                    # Power that stays equal over a refresh looks slower than it is, so a period beyond the counter's is no finding.
                    _put_refresh(slot.channel, power if power and (not counter or power.period_ms < 1.5 * counter.period_ms) else None)

    def open(self) -> None:
        """Restore what a killed run left behind. Handles are those of `discover`, which runs first if it has not."""
        if self._handles is None:
            self.discover()
        if self._settings is not None:
            self._settings.restore_left_behind()

    def read(self) -> Iterable[Reading]:
        """Ledger channels of all boards, and once a second the gauges. Lost boards are looked for once a second."""
        if self._handles is None:
            return []
        readings: list[Reading] = []
        for uuid, away_s in self._handles.find_lost().items():
            self.context.report_event(EventCode.METER_ERROR, f"{uuid} answers again after {away_s:.1f} s; handles were fetched anew", None)
        gauges_due = self.context.clock.now_ns() >= self._gauges_due_ns
        for device in self._devices:
            readings += self._read(device, gauges_due)
        if gauges_due:
            self._gauges_due_ns = self.context.clock.now_ns() + round(self.config.gauge_interval_ms * 1e6) - 1_000_000
        return readings

    def _read(self, device: _Device, gauges_due: bool) -> list[Reading]:
        nvml, handles, uuid = self._nvml, self._handles, device.board.uuid
        handle = handles.of(uuid) if handles is not None else None
        if handle is None:
            return []
        try:
            readings = device.reader.read(handle)
            if gauges_due and device.gauges is not None:
                readings += device.gauges.read(handle)
        except nvml.NVMLError as error:
            lost = is_lost(nvml, error)
            self._faults.happened(EventCode.METER_ERROR, device.slots[0].channel.channel, f"{uuid}: {error}")
            if lost and handles is not None:
                handles.lose(uuid)
            return []
        return readings

    def engine_started(self, pids: Sequence[int]) -> None:
        """The engine's processes: they and their children are no strangers."""
        self._own.add(pids)

    def at_window_edge(self, window: str) -> None:
        """Look for other people's processes on the run's GPUs."""
        for device in self._devices:
            handle = self._handles.of(device.board.uuid) if self._handles is not None else None
            if handle is None or not device.part.allocated:
                continue
            company = company_on(self._nvml, handle, self._own)
            for stranger in company.strangers:
                message = f"{stranger} on {device.board.uuid} at an edge of {window}"
                self.context.report_event(EventCode.FOREIGN_PROCESS, message, device.slots[0].channel.channel)
            if company.unseen and device.board.uuid not in self._told_unseen:
                self._told_unseen.add(device.board.uuid)
                message = f"{company.unseen} processes on {device.board.uuid} are not seen from this container: ours or others'"
                self.context.report_event(EventCode.METER_UNAVAILABLE, message, None)

    def set_power_limit(self, device: str, limit_w: float) -> float:
        """Set the power limit of a device (UUID); returns the effective one in watts."""
        return self._control(device).set_power_limit(device, limit_w)

    def lock_clocks(self, device: str, low_mhz: int, high_mhz: int) -> None:
        """Lock the compute clock of a device (UUID) to a range in MHz."""
        self._control(device).lock_clocks(device, low_mhz, high_mhz)

    def restore(self) -> list[str]:
        """Put back power limits and clocks; returns the devices restored, for the caller to tell. Idempotent."""
        return list(self._settings.restore()) if self._settings is not None else []

    def close(self) -> None:
        """Restore settings, tell what was counted, and let go of NVML."""
        for device, words in (self._settings.restore() if self._settings is not None else {}).items():
            self.context.report_event(EventCode.POWER_LIMIT_RESTORED, f"{device}: {words}", None)
        self._faults.flush()
        self._devices.clear()
        if self._handles is not None:
            self._handles.clear()
            self._handles, self._settings = None, None
            with contextlib.suppress(self._nvml.NVMLError):  # the driver went away: there is nothing left to shut down
                self._nvml.nvmlShutdown()

    def _control(self, device: str) -> Settings:
        """Settings of a device that is wholly the run's: a board shared with others is not for one of them to slow down."""
        if self._settings is None:
            self.discover()
        assert self._settings is not None
        part = next((found.part for found in self._devices if found.board.uuid == device), None)
        if part is not None and (not part.allocated or part.share is not None):
            raise Refused(f"{device} is not wholly the run's, so its settings are left alone", "Use a whole GPU: sudo nvidia-smi -mig 0")
        return self._settings

    def _journal(self) -> Journal:
        return Journal(Path(self.config.journal).expanduser() if self.config.journal else default_folder())


def _put_refresh(channel: Channel, refresh: Refresh | None) -> None:
    if refresh is None:
        return
    channel.update_ms, channel.update_u_ms = round(refresh.period_ms, 3), round(refresh.u_ms, 3)
    channel.extensions["x_update_source"] = f"characterised at start from {refresh.gaps} gaps"
