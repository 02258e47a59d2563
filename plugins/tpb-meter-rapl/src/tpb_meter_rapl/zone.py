"""A RAPL zone: which part of the machine one energy counter covers, and how its name in sysfs says so."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PACKAGE = re.compile(r"package-(\d{1,4})(?:-die-(\d{1,4}))?", re.ASCII)
_PSYS = re.compile(r"psys(?:-(\d{1,4}))?", re.ASCII)
_PART_OF_PACKAGE = ("core", "uncore", "dram")


@dataclass(frozen=True, order=True)
class Zone:
    """Identity of one counter, the same whichever interface reads it.

    `kind` is `package`, `core`, `uncore`, `dram` or `psys`; `package` the physical package id (0 for psys: its number), `die` the die
    inside the package where the kernel tells dies apart.
    """

    package: int
    kind: str
    die: int | None = None

    @property
    def sensor(self) -> str:
        """Name of the sensor on its machine, for example `package-0`, `package-1-die-0/dram`, `psys`."""
        if self.kind == "psys":
            return "psys" if self.package == 0 else f"psys-{self.package}"
        package = f"package-{self.package}" + ("" if self.die is None else f"-die-{self.die}")
        return package if self.kind == "package" else f"{package}/{self.kind}"


def parse_zone_name(name: str, parent: Zone | None) -> Zone | None:
    """The zone that the text of a `name` file stands for; `parent` is the package zone it lies in. None: not a zone that we know."""
    name = name.strip()
    if parent is None:
        if package := _PACKAGE.fullmatch(name):
            return Zone(int(package[1]), "package", None if package[2] is None else int(package[2]))
        if psys := _PSYS.fullmatch(name):
            return Zone(int(psys[1] or 0), "psys")
        return None
    if name in _PART_OF_PACKAGE and parent.kind == "package":
        return Zone(parent.package, name, parent.die)
    return None
