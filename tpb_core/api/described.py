"""Channels that the user describes in words: what a column of a log or of a program's output measures.

A place is `SCOPE[:ROLE][@DOMAIN]` (`node`, `node:part`, `gpu@gpu0`), a column is `SOURCE UNIT PLACE`
(`2 W node`, `total kWh outlet@pdu/3`). Shared by the meters that read what other people's instruments print.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tpb_core.api.channel import ROLES, SCOPES, Channel
from tpb_core.api.errors import BadInput
from tpb_core.api.units import J_PER_WH

_PLACE = re.compile(r"(?P<scope>[a-z_]+)(?::(?P<role>[a-z]+))?(?:@(?P<domain>[A-Za-z0-9_.\-]+(?:/[A-Za-z0-9_.\-]+)*))?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)
_MISSING = frozenset({"", "-", "--", "n/a", "na", "nan", "null", "none", "unavailable", "unknown"})
"""What instruments and exports write where they have no value (Home Assistant: `unavailable`, `unknown`)."""


@dataclass(frozen=True)
class Place:
    """Which part of the machine a figure covers. `domain` is below the node; None: the node itself or a name of the channel's own."""

    scope: str
    role: str | None = None
    domain: str | None = None


@dataclass(frozen=True)
class Quantity:
    """What a unit stands for: kind of channel, SI unit, factor from the one to the other."""

    kind: str
    unit: str
    factor: float


QUANTITIES = {
    "W": Quantity("power", "W", 1.0), "mW": Quantity("power", "W", 1e-3), "uW": Quantity("power", "W", 1e-6),
    "kW": Quantity("power", "W", 1e3), "J": Quantity("energy_counter", "J", 1.0), "mJ": Quantity("energy_counter", "J", 1e-3),
    "uJ": Quantity("energy_counter", "J", 1e-6), "kJ": Quantity("energy_counter", "J", 1e3),
    "mWh": Quantity("energy_counter", "J", J_PER_WH * 1e-3), "Wh": Quantity("energy_counter", "J", J_PER_WH),
    "kWh": Quantity("energy_counter", "J", J_PER_WH * 1e3), "V": Quantity("gauge", "V", 1.0), "A": Quantity("gauge", "A", 1.0),
    "Hz": Quantity("gauge", "Hz", 1.0), "%": Quantity("gauge", "%", 1.0), "degC": Quantity("gauge", "degC", 1.0),
    "MHz": Quantity("gauge", "MHz", 1.0),
}  # fmt: skip
"""Units that can be declared. Energies are counters: readings of a meter that adds up."""


@dataclass(frozen=True)
class Column:
    """One described column: `source` is a number counted from 1 or a name, as the format of the input has it."""

    name: str
    source: str
    unit: str
    place: Place

    @property
    def quantity(self) -> Quantity:
        """Kind, unit and factor."""
        return QUANTITIES[self.unit]


def parse_place(text: str, where: str) -> Place:
    """A place from `SCOPE[:ROLE][@DOMAIN]`. Raises BadInput naming `where` (the option)."""
    match = _PLACE.fullmatch(text.strip())
    scope, role, domain = (match["scope"], match["role"], match["domain"]) if match else ("", None, None)
    if scope not in SCOPES or (role is not None and role not in ROLES):
        raise BadInput(
            f"{where}: {text!r} is not SCOPE[:ROLE][@DOMAIN]",
            "For example node, node:part, gpu@gpu0. Scopes: " + ", ".join(SCOPES) + ". Roles: " + ", ".join(ROLES) + ".",
        )
    return Place(scope, role, domain)


def parse_column(name: str, text: str, where: str) -> Column:
    """A column from `SOURCE UNIT PLACE`; the source may hold blanks. Raises BadInput naming `where` (the option)."""
    parts = str(text).split()
    if not _NAME.fullmatch(name):
        raise BadInput(f"{where}: {name!r} is not a channel name", "Letters, digits, '_', '-' and '.' only.")
    if len(parts) < 3 or parts[-2] not in QUANTITIES:
        raise BadInput(
            f"{where}.{name}: {text!r} is not SOURCE UNIT SCOPE[:ROLE][@DOMAIN]",
            f"For example '2 W node' (column 2, watts, whole machine). Units: {', '.join(QUANTITIES)}.",
        )
    return Column(name, " ".join(parts[:-2]), parts[-2], parse_place(parts[-1], f"{where}.{name}"))


def channel_of(column: Column, *, node: str, meter: str, device: str, evidence: str = "measured") -> Channel:
    """The channel of a described column. Its `sensor` is the device and the column, so figures of one column share their errors."""
    place = column.place
    below = place.domain or (None if place.scope == "node" else column.name)
    domain = f"{node}/{below}" if below else node
    parent = domain.rpartition("/")[0] or None
    return Channel(
        channel=f"{domain}/{meter}_{column.name}",
        domain=domain,
        parent=parent,
        node=node,
        scope=place.scope,
        role=place.role,
        kind=column.quantity.kind,
        unit=column.quantity.unit,
        evidence=evidence,
        meter=meter,
        device=device,
        sensor=f"{device}/{column.name}",
    )


def parse_value(text: str, column: Column, decimal: str = ".") -> float | None:
    """The value of a cell in the channel's SI unit; None where the cell says that there is none.

    The declared unit may follow the number. Raises ValueError for everything else: thousands separators, other units, infinities,
    and numbers that can be read in two ways.
    """
    cell = text.strip().strip("\"'").strip()
    if cell.lower() in _MISSING:
        return None
    if cell.endswith(column.unit):
        cell = cell[: -len(column.unit)].rstrip()
    if decimal != ".":
        if "." in cell:
            raise ValueError(f"{text!r} has a point although the decimal separator is {decimal!r}")
        cell = cell.replace(decimal, ".", 1)
    if not _NUMBER.fullmatch(cell):
        raise ValueError(f"{text!r} is no number in {column.unit}")
    value = float(cell) * column.quantity.factor
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is too large")
    return value
