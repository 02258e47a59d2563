"""What was found out about the sensors of this machine, kept for later runs: one JSON file a sensor in the user's data folder.

A finding belongs to a sensor, a meter, the last part of the channel's name, and the driver version under which it was made; under another
version it is not used. Sensors whose meters state no driver version (`x_driver`) keep their findings until they are made anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tpb_core.api.channel import Channel
from tpb_core.api.errors import BadInput

FORMAT, VERSION = "tpb-device", 1
SOURCES = ("characterised", "calibrated")
TIMING = ("averaging_ms", "averaging_u_ms", "update_ms", "update_u_ms", "delay_ms", "delay_u_ms")
GAIN = ("gain", "offset_w", "gain_u_rel", "offset_u_w")


@dataclass(frozen=True)
class Finding:
    """One entry. `values` has the keys of `TIMING` (source `characterised`) or of `GAIN` (`calibrated`), in those units."""

    sensor: str
    meter: str
    tail: str
    driver: str | None
    source: str
    utc: str
    values: dict[str, float] = field(default_factory=dict)
    note: str = ""
    run_id: str = ""

    @property
    def key(self) -> tuple[str, str, str, str | None, str]:
        """What makes it replace an older one."""
        return self.sensor, self.meter, self.tail, self.driver, self.source


def devices_folder() -> Path:
    """Where findings are kept: `devices` in the user's data folder (`XDG_DATA_HOME` moves it)."""
    import platformdirs

    return Path(platformdirs.user_data_dir("tpb", appauthor=False)) / "devices"


def identity(channel: Channel, machine: str) -> tuple[str, str, str, str | None]:
    """Sensor, meter, tail and driver of a channel. A channel without a sensor is known by machine and name."""
    tail = channel.channel.removeprefix(f"{channel.domain}/")
    driver = channel.extensions.get("x_driver")
    return channel.sensor or f"{machine}/{channel.channel}", channel.meter or "", tail, None if driver is None else str(driver)


class DeviceStore:
    """The files of one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or devices_folder()

    def add(self, findings: Iterable[Finding]) -> list[Path]:
        """Keep findings, each in place of an older one of its key; returns the files written. Raises OSError."""
        by_sensor: dict[str, list[Finding]] = {}
        for finding in findings:
            by_sensor.setdefault(finding.sensor, []).append(finding)
        written = []
        for sensor, new in by_sensor.items():
            path = self._path(sensor)
            kept = {finding.key: finding for finding in (self._read(path) if path.exists() else [])}
            kept.update({finding.key: finding for finding in new})
            self.folder.mkdir(parents=True, exist_ok=True)
            document = {"format": FORMAT, "version": VERSION, "sensor": sensor, "findings": [asdict(finding) for finding in kept.values()]}
            unfinished = path.with_suffix(".part")
            unfinished.write_text(json.dumps(document, indent=1) + "\n")
            unfinished.replace(path)
            written.append(path)
        return written

    def all(self) -> list[Finding]:
        """Everything that is kept. Raises BadInput naming a file that cannot be read."""
        if not self.folder.is_dir():
            return []
        return [finding for path in sorted(self.folder.glob("*.json")) for finding in self._read(path)]

    def of(self, sensor: str) -> list[Finding]:
        """What is kept of one sensor."""
        path = self._path(sensor)
        return [finding for finding in self._read(path) if finding.sensor == sensor] if path.exists() else []

    def _path(self, sensor: str) -> Path:
        readable = re.sub(r"[^A-Za-z0-9._-]+", "_", sensor)[:60]
        return self.folder / f"{readable}-{hashlib.sha256(sensor.encode()).hexdigest()[:8]}.json"

    def _read(self, path: Path) -> list[Finding]:
        try:
            document = json.loads(path.read_text())
            if document["format"] != FORMAT or document["version"] > VERSION:
                raise ValueError(f"format {document['format']!r} {document['version']!r}")
            return [_finding(row) for row in document["findings"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"{path}: not a file of findings about a sensor ({error})", f"Remove it and characterise again:  rm {path}"
            ) from error


def apply_findings(channels: Sequence[Channel], store: DeviceStore, machine: str) -> None:
    """Put what is known of this very sensor, under this very driver, into its channels; `calibration` says where it comes from.

    Raises BadInput for a damaged file: to leave it out silently would change figures.
    """
    for channel in channels:
        sensor, meter, tail, driver = identity(channel, machine)
        for finding in sorted(store.of(sensor), key=lambda finding: SOURCES.index(finding.source)):
            if (finding.meter, finding.tail, finding.driver) == (meter, tail, driver):
                _apply(channel, finding)


def _apply(channel: Channel, finding: Finding) -> None:
    told = {"source": finding.source, "utc": finding.utc, "note": finding.note}
    if finding.source == "calibrated":
        if (channel.calibration or {}).get("source") == "calibrated":
            return  # the user stated a calibration of their own in the meter's options
        channel.common_group = channel.common_r = None  # it no longer shares the error of its model
        channel.calibration = told
    else:
        channel.extensions["x_timing_source"] = f"characterised {finding.utc} in run {finding.run_id}"
        channel.calibration = channel.calibration or told
    for key, value in finding.values.items():
        setattr(channel, key, value)


def _finding(row: dict[str, Any]) -> Finding:
    finding = Finding(**row)
    allowed = TIMING if finding.source == "characterised" else GAIN
    if finding.source not in SOURCES or not all(
        key in allowed and isinstance(value, (int, float)) for key, value in finding.values.items()
    ):
        raise ValueError(f"{finding.source} {sorted(finding.values)}")
    return finding
