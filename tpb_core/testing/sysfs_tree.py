"""Powercap and hwmon trees in a temporary folder, whose values move: by hand (`advance`), or with real time (`moving`).

Files are written in place, as in sysfs, so that a reader may keep its descriptor open. As a script it keeps a tree alive:
`python -m tpb_core.testing.sysfs_tree DIR --power 40` and, elsewhere, `tpb +meter=rapl meter.rapl.root=DIR`.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Watts = float | Callable[[float], float]
"""Constant power, or power at a time in seconds since the tree was made."""

RANGE_UJ = 262_143_328_850
"""`max_energy_range_uj` of most Intel packages: 2^32 steps of 61 uJ."""


class Attribute:
    """One file with a number or a text in it. The file stays the same inode whatever is written."""

    def __init__(self, path: Path, value: str | int, mode: int = 0o444) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        path.write_text(f"{value}\n")
        path.chmod(mode)

    def write(self, value: str | int) -> None:
        """Replace the content; readers see the old or the new first line."""
        content = f"{value}\n".encode()
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, content, 0)
            if os.fstat(descriptor).st_size > len(content):
                os.ftruncate(descriptor, len(content))
        finally:
            os.close(descriptor)


class EnergyFile:
    """A counter in microjoules that grows with its power and wraps behind `range_uj`."""

    def __init__(self, path: Path, watts: Watts, start_uj: int = 0, range_uj: int = RANGE_UJ, mode: int = 0o444) -> None:
        self.watts = watts
        self.range_uj = range_uj
        self.start_uj = start_uj
        self.energy_j = 0.0
        """True energy since the tree was made, never wrapped."""
        self.attribute = Attribute(path, start_uj, mode)

    @property
    def value_uj(self) -> int:
        """What the file says."""
        return (self.start_uj + int(self.energy_j * 1e6)) % (self.range_uj + 1)

    def advance(self, t_s: float, seconds: float) -> None:
        """Let time pass from `t_s` on."""
        self.energy_j += (self.watts(t_s + seconds / 2) if callable(self.watts) else self.watts) * seconds
        self.attribute.write(self.value_uj)


class PowerFile:
    """A power attribute in microwatts (or the unit that `per_watt` makes)."""

    def __init__(self, path: Path, watts: Watts, per_watt: float = 1e6) -> None:
        self.watts = watts
        self.per_watt = per_watt
        self.attribute = Attribute(path, 0)
        self.advance(0.0, 0.0)

    def advance(self, t_s: float, seconds: float) -> None:
        """Show the power at the end of the step."""
        watts = self.watts(t_s + seconds) if callable(self.watts) else self.watts
        self.attribute.write(round(watts * self.per_watt))


class SysfsTree:
    """A folder of attributes that move together."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.t_s = 0.0
        self.files: list[EnergyFile | PowerFile] = []
        root.mkdir(parents=True, exist_ok=True)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        for file in self.files:
            file.advance(self.t_s, seconds)
        self.t_s += seconds

    @contextmanager
    def moving(self, period_s: float = 0.005) -> Iterator[None]:
        """Within this block the tree follows real time, refreshed every `period_s` by a thread."""
        stop = threading.Event()
        thread = threading.Thread(target=self.follow, args=(stop, period_s), name="sysfs-tree", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def follow(self, stop: threading.Event, period_s: float) -> None:
        """Advance by the real time that passes, until `stop` is set."""
        last, stopped = time.monotonic(), False
        while not stopped:
            stopped = stop.wait(period_s)
            now = time.monotonic()
            self.advance(now - last)
            last = now


class PowercapTree(SysfsTree):
    """`/sys/class/powercap` with the zones that a test asks for."""

    def zone(
        self,
        entry: str,
        name: str,
        watts: Watts,
        *,
        start_uj: int = 0,
        range_uj: int = RANGE_UJ,
        limit_w: float | None = None,
        mode: int = 0o444,
    ) -> EnergyFile:
        """A zone folder such as `intel-rapl:0:1`, with the text of its `name`; returns its counter."""
        folder = self.root / entry
        Attribute(folder / "name", name)
        Attribute(folder / "max_energy_range_uj", range_uj)
        if limit_w is not None:
            Attribute(folder / "constraint_0_max_power_uw", int(limit_w * 1e6))
        counter = EnergyFile(folder / "energy_uj", watts, start_uj, range_uj, mode)
        self.files.append(counter)
        return counter


class HwmonTree(SysfsTree):
    """`/sys/class/hwmon` with the devices that a test asks for."""

    def device(self, entry: str, name: str, **texts: str | int) -> Path:
        """A device folder such as `hwmon3` with its driver's name and further attributes; returns the folder."""
        folder = self.root / entry
        for attribute, value in {"name": name, **texts}.items():
            Attribute(folder / attribute, value)
        return folder

    def power(self, path: Path, watts: Watts, per_watt: float = 1e6) -> PowerFile:
        """A moving attribute, by default in microwatts."""
        file = PowerFile(path, watts, per_watt)
        self.files.append(file)
        return file

    def energy(self, path: Path, watts: Watts, start_uj: int = 0, range_uj: int = 2**63 - 1) -> EnergyFile:
        """A moving energy counter in microjoules."""
        file = EnergyFile(path, watts, start_uj, range_uj)
        self.files.append(file)
        return file


def main(arguments: list[str] | None = None) -> None:
    """Make a powercap tree in DIR and keep it moving until interrupted, or for a given time."""
    parser = argparse.ArgumentParser(prog="python -m tpb_core.testing.sysfs_tree", description="Keep a powercap tree moving.")
    parser.add_argument("dir", type=Path, help="folder of the tree: meter.rapl.root=DIR")
    parser.add_argument("--power", type=float, default=40.0, help="watts of each package")
    parser.add_argument("--dram", type=float, default=5.0, help="watts of each package's DRAM; 0: none")
    parser.add_argument("--packages", type=int, default=1, help="number of packages")
    parser.add_argument("--seconds", type=float, default=None, help="stop after this time (default: never)")
    parser.add_argument("--period-ms", type=float, default=5.0, help="time between two refreshes")
    options = parser.parse_args(arguments)
    tree = PowercapTree(options.dir)
    for package in range(options.packages):
        tree.zone(f"intel-rapl:{package}", f"package-{package}", options.power)
        if options.dram:
            tree.zone(f"intel-rapl:{package}:0", "dram", options.dram, range_uj=65_532_610_987)
    print(f"keeps moving: meter.rapl.root={options.dir}", flush=True)
    stop = threading.Event()
    if options.seconds is not None:
        threading.Timer(options.seconds, stop.set).start()
    try:
        tree.follow(stop, options.period_ms / 1e3)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
