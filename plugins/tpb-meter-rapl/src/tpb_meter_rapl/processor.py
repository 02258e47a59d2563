"""The processor as far as RAPL figures depend on it: who made it, how its counters come about, which CPU is in which package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_INTEL_BEFORE_HASWELL = frozenset({0x2A, 0x2D, 0x3A, 0x3E})
"""Model numbers (family 6) of Sandy Bridge and Ivy Bridge, whose RAPL is a model of activity counts; Haswell began to measure."""
_FIELD = re.compile(r"^([a-z_ ]{1,40}?)\s*:[ \t]*(.*)$", re.ASCII | re.MULTILINE)


@dataclass(frozen=True)
class Processor:
    """What `/proc/cpuinfo` says of the first CPU. Empty strings and None where it says nothing."""

    vendor: str = ""
    family: int | None = None
    model: int | None = None
    name: str = ""
    microcode: str = ""
    sgx: bool = False

    @property
    def is_amd(self) -> bool:
        """AMD, and Hygon, which builds the same cores."""
        return self.vendor in ("AuthenticAMD", "HygonGenuine")

    def evidence(self, kind: str) -> str:
        """`measured` or `modelled` for a zone of this kind. Unknown processors and parts count as modelled.

        Sources: Hackenberg et al. 2015 and Desrochers et al. 2016 (Haswell and newer measure packages; DRAM is measured on servers),
        Schoene et al. 2021 (AMD Zen 2 models).
        """
        if self.vendor != "GenuineIntel" or self.family != 6 or self.model in _INTEL_BEFORE_HASWELL:
            return "modelled"
        if kind in ("package", "psys") or (kind == "dram" and "Xeon" in self.name):
            return "measured"
        return "modelled"


def parse_cpuinfo(text: str) -> Processor:
    """The first processor of a `/proc/cpuinfo` text (x86 form). Whatever the text, a Processor."""
    fields: dict[str, str] = {}
    for key, value in _FIELD.findall(text.split("\n\n", 1)[0]):
        fields.setdefault(key, value.strip())
    return Processor(
        vendor=fields.get("vendor_id", ""),
        family=_integer(fields.get("cpu family", "")),
        model=_integer(fields.get("model", "")),
        name=fields.get("model name", ""),
        microcode=fields.get("microcode", ""),
        sgx="sgx" in fields.get("flags", "").split(),
    )


def read_processor(cpuinfo: Path) -> Processor:
    """The processor of this machine; an unknown one where the file cannot be read."""
    try:
        return parse_cpuinfo(cpuinfo.read_bytes()[:65536].decode("utf-8", "replace"))
    except OSError:
        return Processor()


def package_and_die(cpu_root: Path, cpu: int) -> tuple[int, int | None]:
    """Physical package and die of a CPU number, from `cpu<N>/topology`. Package 0 and no die where the kernel does not say."""
    topology = cpu_root / f"cpu{cpu}" / "topology"
    return _file_integer(topology / "physical_package_id") or 0, _file_integer(topology / "die_id")


def _file_integer(path: Path) -> int | None:
    try:
        return _integer(path.read_bytes()[:32].decode("ascii", "replace"))
    except OSError:
        return None


def _integer(text: str) -> int | None:
    text = text.strip()
    return int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else None
