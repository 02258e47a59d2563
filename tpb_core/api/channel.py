"""Channels: the series that a meter delivers, described as in the manifest of a run bundle."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SCOPES = (
    "gpu", "gpu_memory", "module", "soc", "package", "core", "uncore", "dram", "psys", "board", "fan", "nic", "storage",
    "psu", "outlet", "node", "rack", "switch", "process", "other",
)  # fmt: skip
KINDS = ("energy_counter", "power", "counter", "gauge", "time_counter", "bitmask")
ROLES = ("primary", "check", "part")
EVIDENCE = ("measured", "modelled", "simulated", "estimated", "reported")
"""How a figure came about, best first."""
LEDGER_KINDS = ("energy_counter", "power")
"""The kinds of channel that enter the energy ledger."""


@dataclass(slots=True)
class Channel:
    """One series. The keys, their units and the meaning of null are those of `manifest.json`, key `channels`."""

    channel: str
    domain: str
    scope: str
    kind: str
    unit: str
    evidence: str
    parent: str | None = None
    node: str = "n0"
    meter: str | None = None
    device: str | None = None
    sensor: str | None = None
    role: str | None = None
    allocated: bool = True
    share: float | None = None
    share_method: str | None = None
    resolution: float | None = None
    wrap: float | None = None
    max_power_w: float | None = None
    averaging_ms: float | None = None
    update_ms: float | None = None
    delay_ms: float | None = None
    averaging_u_ms: float | None = None
    update_u_ms: float | None = None
    delay_u_ms: float | None = None
    gain: float = 1.0
    offset_w: float = 0.0
    gain_u_rel: float | None = None
    offset_u_w: float | None = None
    calibration: dict[str, Any] | None = None
    common_group: str | None = None
    common_r: float | None = None
    point: str | None = None
    extensions: dict[str, Any] = field(default_factory=dict)
    """Keys of our own or of other programs, each starting with `x_`; keys unknown to this version are kept here too."""

    def to_json(self) -> dict[str, Any]:
        """The manifest row; extensions are merged in at the top level."""
        row = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "extensions"}
        return {**row, **self.extensions}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Channel:
        """A channel from its manifest row. Raises KeyError naming the first required key that is missing."""
        known = {f.name for f in dataclasses.fields(cls)} - {"extensions"}
        for key in ("channel", "domain", "scope", "kind", "unit", "evidence"):
            if row.get(key) is None:
                raise KeyError(key)
        present = {key: value for key, value in row.items() if key in known and value is not None}
        return cls(**present, extensions={key: value for key, value in row.items() if key not in known})


class Reading(NamedTuple):
    """One value as read from a device: not unwrapped, not corrected, with the run clock before and after the call.

    `source_ns` is the device's own stamp and `source_clock` its clock (`realtime`, `monotonic`, `device`), where it has one.
    """

    channel: str
    t_before_ns: int
    t_after_ns: int
    value: float
    source_ns: int | None = None
    source_clock: str | None = None
