"""What the walk through a service finds: things with power or energy, before they are channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tpb_meter_redfish.value import Pointer

J_PER_KWH = 3.6e6


@dataclass(frozen=True)
class Quantity:
    """One number of one resource. `stamp` is where the resource tells when it was measured."""

    path: str
    pointer: Pointer
    kind: str
    """`power` (W) or `energy_counter` (J)."""
    factor: float = 1.0
    stamp: Pointer | None = None

    @property
    def coarse(self) -> bool:
        """Whether it is a counter in kWh: its steps (0.001 kWh is 3600 J) are too coarse to give the energy of a window."""
        return self.factor == J_PER_KWH


@dataclass
class Thing:
    """A chassis, supply, GPU, module, outlet or PDU with what it measures."""

    what: str
    """`chassis`, `supply`, `supply_output`, `gpu`, `module`, `package`, `outlet`, `pdu`, `other`."""
    id: str
    """Unique within the service: `1`, `1/PSU1`, `PDU1/A1`."""
    quantities: list[Quantity] = field(default_factory=list)
    uuid: str = ""
    index: int = 0
    """Place among its kind, for GPUs and modules."""


@dataclass
class Service:
    """Everything found at one service."""

    things: list[Thing] = field(default_factory=list)
    complete_supplies: bool = False
    """Whether every supply that is present tells its input power."""
    left_out: list[str] = field(default_factory=list)
    extensions: dict[str, Any] = field(default_factory=dict)

    def of(self, what: str) -> list[Thing]:
        """The things of one kind."""
        return [thing for thing in self.things if thing.what == what]
