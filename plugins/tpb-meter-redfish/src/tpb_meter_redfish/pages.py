"""Reading a service's resources while it is explored: each once, collections with their further pages, refusals noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from tpb_meter_redfish.client import ServiceError
from tpb_meter_redfish.found import J_PER_KWH, Quantity
from tpb_meter_redfish.value import Pointer, link, look, number, stamp_ns, text

_MOST_MEMBERS = 500
_NO_SESSION, _FORBIDDEN = 401, 403


class Source(Protocol):
    """Anything that gives resources: a client, or a dictionary in a test."""

    def get(self, path: str) -> dict[str, Any]:
        """The resource. Raises ServiceError."""
        ...


class Pages:
    """A service while it is explored."""

    def __init__(self, source: Source, out_of_time: Callable[[], bool]) -> None:
        self._source, self._out_of_time = source, out_of_time
        self._known: dict[str, dict[str, Any] | None] = {}
        self.left_out: list[str] = []
        self.forbidden = False

    def get(self, path: str | None) -> dict[str, Any] | None:
        """A resource; None where there is no link or the service refuses it, which is noted.

        Raises ServiceError where the service is gone or does not let this user in.
        """
        if path is None:
            return None
        if path not in self._known:
            self._known[path] = None
            if self._out_of_time():
                self.left_out.append(f"{path}: finding out takes longer than meter.redfish.discover_s")
                return None
            try:
                self._known[path] = self._source.get(path)
            except ServiceError as error:
                if not error.status or error.status == _NO_SESSION:
                    raise
                self.forbidden = self.forbidden or error.status == _FORBIDDEN
                self.left_out.append(str(error))
        return self._known[path]

    def members(self, path: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
        """(path, resource) of each member of a collection."""
        seen: set[str] = set()
        while path is not None and path not in seen and len(seen) < _MOST_MEMBERS:
            seen.add(path)
            collection = self.get(path)
            entries = look(collection, ("Members",))
            for entry in entries[:_MOST_MEMBERS] if isinstance(entries, list) else []:
                member_path = link(entry)
                member = self.get(member_path)
                if member_path is not None and member is not None:
                    yield member_path, member
            further = look(collection, ("Members@odata.nextLink",))
            path = further if isinstance(further, str) and further.startswith("/") else None

    def reading(self, path: str, document: dict[str, Any], *pointer: str | int) -> Quantity | None:
        """A number of a resource that is there now, or None.

        A sensor excerpt (`PowerWatts`) may name the sensor that it comes from; where that tells when it was read, it is read instead.
        """
        name = str(pointer[0] if pointer[-1] == "Reading" else pointer[-1])
        kind, factor = _QUANTITIES[name]
        here = Quantity(path, pointer, kind, factor)
        if not self._usable(document, pointer):
            return None
        if pointer[-1] == "Reading":
            sensor_path = text(document, *pointer[:-1], "DataSourceUri")
            sensor = self.get(sensor_path) if sensor_path.startswith("/") else None
            if sensor is not None and stamp_ns(sensor, ("ReadingTime",)) is not None and self._usable(sensor, ("Reading",)):
                return Quantity(sensor_path, ("Reading",), kind, factor, ("ReadingTime",))
        return here

    def _usable(self, document: dict[str, Any], pointer: Pointer) -> bool:
        try:
            return number(document, pointer) is not None
        except ValueError as error:
            self.left_out.append(str(error))
            return False


_QUANTITIES = {
    "PowerWatts": ("power", 1.0), "InputPowerWatts": ("power", 1.0), "OutputPowerWatts": ("power", 1.0),
    "PowerConsumedWatts": ("power", 1.0), "PowerInputWatts": ("power", 1.0), "PowerOutputWatts": ("power", 1.0),
    "EnergyJoules": ("energy_counter", 1.0), "EnergykWh": ("energy_counter", J_PER_KWH),
}  # fmt: skip
