"""What a way to DCGM offers: entities (GPUs, Grace CPUs), their values with stamps, and the four calls that the meter makes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tpb_meter_dcgm.fields import Field


@dataclass(frozen=True)
class Entity:
    """A GPU (`uuid`, `model` and `driver` version where the source knows them) or a Grace CPU socket; `fields` gave a value."""

    kind: str
    index: int
    fields: frozenset[int]
    uuid: str | None = None
    model: str | None = None
    sliced: bool = False
    driver: str | None = None


class Value(NamedTuple):
    """One value in the field's own unit. It was taken between `earliest_ns` and `latest_ns` of the run clock."""

    kind: str
    number: int
    field: Field
    value: float
    earliest_ns: int
    latest_ns: int
    source_ns: int | None = None


class Backend(Protocol):
    """A way to DCGM. All but `read` may raise Unavailable."""

    name: str
    period_ms: float
    """How often values are taken anew, as known after `discover`."""

    def discover(self) -> list[Entity]:
        """Entities and what they offer."""

    def open(self) -> None:
        """Begin to collect."""

    def read(self) -> Iterable[Value]:
        """Values since the last call. Never raises."""

    def close(self) -> None:
        """Give everything back. Idempotent."""

    def complaints(self) -> list[str]:
        """What went wrong since the last call, in words."""
