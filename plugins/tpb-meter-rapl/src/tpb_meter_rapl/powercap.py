"""The powercap tree in sysfs: find its RAPL zones and read their counters through descriptors that stay open.

Facts: kernel documentation `power/powercap`. A zone is a folder `<control>:<n>[:<m>]` with `name`, `energy_uj` (microjoules, readable by
root only since CVE-2020-8694) and `max_energy_range_uj`. The same zones may be offered by several controls (MSR, TPMI, MMIO).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tpb_meter_rapl.counter import PLAUSIBLE_W
from tpb_meter_rapl.zone import Zone, parse_zone_name

_ENTRY = re.compile(r"(intel-rapl(?:-[a-z]+)?)((?::\d{1,4}){1,2})", re.ASCII)
_COUNT = re.compile(rb"\s*(\d{1,20})\s*(?:\n|$)")
_CONTROL_ORDER = ("intel-rapl", "intel-rapl-msr", "intel-rapl-tpmi", "intel-rapl-mmio")
_COUNTER_STEPS = 2**32
"""The registers have 32 bits, so the range that the kernel states tells the energy unit: 262143 J / 2^32 = 61 uJ."""
_MAX_CREDIBLE_LIMIT_W = 10_000.0
"""Firmware writes absurd power limits (4095 W, 2^31 uW) to say `none`; limits above this are ignored."""


def parse_count(raw: bytes) -> int | None:
    """The unsigned decimal number that a sysfs attribute holds in its first line; None when it holds something else."""
    match = _COUNT.match(raw)
    return int(match[1]) if match else None


class PowercapCounter:
    """One zone's `energy_uj`."""

    def __init__(self, zone: Zone, folder: Path, range_uj: int, limit_w: float | None) -> None:
        self.zone = zone
        self.folder = folder
        self.range_uj = range_uj
        self.wrap_j = (range_uj + 1) * 1e-6
        self.resolution_j = max(range_uj / _COUNTER_STEPS, 1.0) * 1e-6
        self.max_power_w = 1.2 * limit_w if limit_w is not None else PLAUSIBLE_W[zone.kind]
        self.source = str(folder / "energy_uj")
        self._fd: int | None = None

    @property
    def control(self) -> str:
        """The control type that offers the zone, for example `intel-rapl` or `intel-rapl-mmio`."""
        return self.folder.name.split(":")[0]

    def open(self) -> None:
        """Open the file; sysfs gives a fresh value for each read at offset 0."""
        if self._fd is None:
            self._fd = os.open(self.folder / "energy_uj", os.O_RDONLY | os.O_CLOEXEC)

    def read_j(self) -> float:
        """Energy in joules. Raises OSError, and ValueError for a text that is no count within the stated range."""
        if self._fd is None:
            raise OSError(f"{self.source} is not open")
        raw = os.pread(self._fd, 64, 0)
        count = parse_count(raw)
        if count is None or count > self.range_uj:
            raise ValueError(f"{self.source} holds {raw[:40]!r}, which is no energy within 0 to {self.range_uj} uJ")
        return count * 1e-6

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def zone_folders(root: Path) -> dict[str, Path]:
    """Folders of all RAPL zones by their entry name, in a flat (`/sys/class/powercap`) or a nested tree. Empty where there is no tree."""
    folders: dict[str, Path] = {}
    pending = [root]
    while pending:
        for entry in _entries(pending.pop()):
            if _ENTRY.fullmatch(entry.name) and entry.name not in folders:
                folders[entry.name] = entry
                pending.append(entry)
            elif entry.name == "intel-rapl" and entry.is_dir():
                pending.append(entry)
    return dict(sorted(folders.items()))


def find_counters(root: Path) -> list[PowercapCounter]:
    """All counters in the tree, duplicates included, whether this user may read them or not."""
    folders = zone_folders(root)
    found: list[PowercapCounter] = []
    for name, folder in folders.items():
        parent = None
        if name.count(":") == 2:
            parent_folder = folders.get(name.rpartition(":")[0])
            parent = parse_zone_name(_text(parent_folder / "name"), None) if parent_folder else None
            if parent is None:
                continue
        zone = parse_zone_name(_text(folder / "name"), parent)
        range_uj = _number(folder / "max_energy_range_uj")
        if zone is not None and range_uj and (folder / "energy_uj").exists():
            found.append(PowercapCounter(zone, folder, range_uj, _limit_w(folder)))
    return found


def without_duplicates(counters: list[PowercapCounter]) -> tuple[list[PowercapCounter], list[PowercapCounter]]:
    """(one counter a zone, the duplicates). MSR is preferred to TPMI and MMIO, which offer the same registers a second time."""
    kept: dict[Zone, PowercapCounter] = {}
    dropped: list[PowercapCounter] = []
    for counter in sorted(counters, key=lambda c: (_preference(c.control), c.folder.name)):
        if counter.zone in kept:
            dropped.append(counter)
        else:
            kept[counter.zone] = counter
    return sorted(kept.values(), key=lambda c: (c.zone.package, c.zone.kind, c.zone.die or 0)), dropped


def without_mirrors(counters: list[PowercapCounter]) -> tuple[list[PowercapCounter], list[PowercapCounter]]:
    """(distinct counters, mirrors): dies of one package that show one and the same counter, as on AMD.

    A counter is a mirror of another when it lies between two readings of the other taken just before and after it; separate registers,
    which have counted since boot, do so by a chance of about one in a million. Counters must be open.
    """
    kept: list[PowercapCounter] = []
    mirrors: list[PowercapCounter] = []
    for counter in counters:
        same_part = [k for k in kept if (k.zone.package, k.zone.kind) == (counter.zone.package, counter.zone.kind)]
        (mirrors if any(_is_mirror(original, counter) for original in same_part) else kept).append(counter)
    return kept, mirrors


def _is_mirror(original: PowercapCounter, counter: PowercapCounter) -> bool:
    try:
        before, between, after = original.read_j(), counter.read_j(), original.read_j()
    except (OSError, ValueError):
        return False
    return before <= between <= after


def _preference(control: str) -> int:
    return _CONTROL_ORDER.index(control) if control in _CONTROL_ORDER else len(_CONTROL_ORDER)


def _limit_w(folder: Path) -> float | None:
    """The highest credible power that the constraints of a zone state (rated maximum or limit), in watts."""
    names = [f"constraint_{n}_{what}_uw" for n in range(3) for what in ("max_power", "power_limit")]
    watts = [value * 1e-6 for value in (_number(folder / name) for name in names) if value is not None]
    credible = [value for value in watts if 1.0 <= value <= _MAX_CREDIBLE_LIMIT_W]
    return max(credible) if credible else None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:256].decode("ascii", "replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return parse_count(path.read_bytes()[:256])
    except OSError:
        return None
