"""Power limit and clock lock of a device: set after a note of the former state is on disk, and put back for certain.

Put back by `restore` (and so by `close`) in the process that set them; after its death by the next meter that opens, or by
`python -m tpb_meter_nvml.restore`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from tpb_core.api import BadInput, EventCode, Reason, Refused, Unavailable
from tpb_core.api.meter import ReportEvent
from tpb_meter_nvml.journal import Journal, Note


class Settings:
    """`handle_of` gives the handle of a device by UUID, None while it is lost."""

    def __init__(self, nvml: Any, handle_of: Callable[[str], Any | None], journal: Journal, report: ReportEvent) -> None:
        self._nvml, self._handle_of, self._journal, self._report = nvml, handle_of, journal, report
        self._held: dict[str, Note] = {}

    def set_power_limit(self, device: str, limit_w: float) -> float:
        """Set the limit; returns the effective one in watts. Raises BadInput (out of range), Unavailable (permission), Refused (held)."""
        nvml, handle = self._nvml, self._handle(device)
        low_mw, high_mw = self._asked(nvml.nvmlDeviceGetPowerManagementLimitConstraints, handle)
        limit_mw = round(limit_w * 1000)
        if not low_mw <= limit_mw <= high_mw:
            what = f"a power limit of {limit_w:g} W is outside what {device} takes"
            raise BadInput(what, f"Give {low_mw / 1000:g} to {high_mw / 1000:g} W.")
        former = self._note(device)
        before_mw = former.limit_before_mw
        if before_mw is None:
            before_mw = int(self._asked(nvml.nvmlDeviceGetPowerManagementLimit, handle))
        note = dataclasses.replace(former, limit_before_mw=before_mw, limit_set_mw=limit_mw)
        self._change(former, note, nvml.nvmlDeviceSetPowerManagementLimit, handle, limit_mw)
        effective_w = float(self._asked(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)) / 1000
        self._report(
            EventCode.POWER_LIMIT_SET,
            f"{device}: power limit {limit_w:g} W (before: {before_mw / 1000:g} W; in force: {effective_w:g} W)",
            None,
        )
        return effective_w

    def lock_clocks(self, device: str, low_mhz: int, high_mhz: int) -> None:
        """Lock the compute clock to a range in MHz. Raises as `set_power_limit`."""
        if not 0 < low_mhz <= high_mhz:
            raise BadInput(f"{low_mhz} to {high_mhz} MHz is no range of clocks", "Give the lower one first, both above 0.")
        handle, former = self._handle(device), self._note(device)
        self._change(
            former, dataclasses.replace(former, clocks_locked=True), self._nvml.nvmlDeviceSetGpuLockedClocks, handle, low_mhz, high_mhz
        )
        self._report(EventCode.POWER_LIMIT_SET, f"{device}: compute clock locked to {low_mhz} to {high_mhz} MHz", None)

    def restore(self) -> dict[str, str]:
        """Put back what this process changed: what was done, by device.

        A device that cannot be restored keeps its note, and an event says so.
        """
        done = {note.device: self._put_back(note) for note in list(self._held.values())}
        return {device: words for device, words in done.items() if words}

    def restore_left_behind(self) -> list[str]:
        """Put back what processes that died left behind, and tell."""
        done = {note.device: self._put_back(note) for note in self._journal.left_behind()}
        for device, words in done.items():
            if words:
                self._report(EventCode.POWER_LIMIT_RESTORED, f"{device}: {words}, left behind by a process that died", None)
        return [device for device, words in done.items() if words]

    def _put_back(self, note: Note) -> str:
        """What was changed back, empty for nothing; the note is gone then. Settings that a third party changed since are left alone."""
        if not note.is_of_this_boot():
            self._journal.delete(note.device)
            return ""
        nvml, handle = self._nvml, self._handle_of(note.device)
        if handle is None:
            self._report(EventCode.METER_ERROR, f"{note.device} does not answer: its settings are not restored yet", None)
            return ""
        try:
            done = self._put_back_limit(note, handle)
            if note.clocks_locked:
                nvml.nvmlDeviceResetGpuLockedClocks(handle)
                done.append("clocks unlocked")
        except nvml.NVMLError as error:
            self._report(EventCode.METER_ERROR, f"{note.device}: settings are not restored yet: {error}", None)
            return ""
        self._journal.delete(note.device)
        self._held.pop(note.device, None)
        return ", ".join(done)

    def _put_back_limit(self, note: Note, handle: Any) -> list[str]:
        if note.limit_before_mw is None:
            return []
        nvml, before_mw = self._nvml, note.limit_before_mw
        current_mw = int(nvml.nvmlDeviceGetPowerManagementLimit(handle))
        if current_mw == before_mw:
            return []
        if current_mw != note.limit_set_mw:
            words = f"{note.device}: somebody else set the power limit to {current_mw / 1000:g} W meanwhile; it is left so"
            self._report(EventCode.METER_ERROR, words, None)
            return []
        nvml.nvmlDeviceSetPowerManagementLimit(handle, before_mw)
        return [f"power limit back to {before_mw / 1000:g} W"]

    def _handle(self, device: str) -> Any:
        handle = self._handle_of(device)
        if handle is None:
            raise BadInput(f"there is no GPU {device!r} here", "Name a UUID: nvidia-smi -L lists them.")
        return handle

    def _note(self, device: str) -> Note:
        if device in self._held:
            return self._held[device]
        found = self._journal.read(device)
        if found is not None and found.is_held():
            raise Refused(f"process {found.holder_pid} holds the settings of {device}", "Wait until that run has ended.")
        if found is not None:
            self.restore_left_behind()
        return self._journal.new(device)

    def _write(self, note: Note) -> None:
        try:
            self._journal.write(note)
        except OSError as error:
            what = f"settings are not changed: the note to restore them from cannot be written ({error})"
            raise Refused(what, "Set meter.nvml.journal to a folder that can be written.") from error
        self._held[note.device] = note

    def _change(self, former: Note, note: Note, call: Any, *arguments: Any) -> None:
        """Write the note, then change the setting. Where the driver refuses, nothing was changed, and the former note stands again."""
        self._write(note)
        try:
            call(*arguments)
        except self._nvml.NVMLError as error:
            if former.is_empty():
                self._journal.delete(note.device)
                del self._held[note.device]
            else:
                self._write(former)
            if isinstance(error, self._nvml.NVMLError_NoPermission):
                what = f"this user may not change the settings of {note.device}"
                raise Unavailable(what, reason=Reason.NO_PERMISSION, fix="Run as root, or let root set it: nvidia-smi -pl") from error
            if isinstance(error, self._nvml.NVMLError_InvalidArgument):
                raise BadInput(f"{note.device} does not take this setting: {error}") from error
            raise Unavailable(f"{note.device} cannot be set: {error}", reason=Reason.UNSUPPORTED) from error

    def _asked(self, call: Any, handle: Any) -> Any:
        try:
            return call(handle)
        except self._nvml.NVMLError as error:
            raise Unavailable(f"the power limit of this GPU cannot be read: {error}", reason=Reason.UNSUPPORTED) from error
