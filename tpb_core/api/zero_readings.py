"""Readings of 0 W from node meters: a machine that is on draws more, so a zero is a fault of the controller, unless a supply stands by."""

from __future__ import annotations

STANDBY_AFTER = 5


class ZeroReadings:
    """Decides about zeros. A supply that reads 0 time after time while another one carries the load is on standby: then 0 is its power."""

    def __init__(self, supplies: frozenset[str]) -> None:
        self._supplies = supplies
        self._in_a_row: dict[str, int] = {}
        self._loaded: set[str] = set()

    def accepts(self, source: str, watts: float) -> bool:
        """Whether a reading counts."""
        if watts != 0:
            self._in_a_row.pop(source, None)
            self._loaded.add(source)
            return True
        self._loaded.discard(source)
        self._in_a_row[source] = self._in_a_row.get(source, 0) + 1
        others_carry = bool(self._loaded & self._supplies)
        return source in self._supplies and others_carry and self._in_a_row[source] > STANDBY_AFTER
