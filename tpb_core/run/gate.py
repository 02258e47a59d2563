"""The gate before a run: devices idle, their power steady, their temperature low and level, for a stated time.

What it cannot see it does not judge.

Limits follow the practice of published data sets: utilisation at most 1 %, power within 3 W, at most 65 degC, for 30 s; and a slope of at
most 2 degC a minute, since leakage rises with temperature.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from tpb_core.api.units import NS_PER_S

MAX_UTILISATION_PERCENT = 1.0
MAX_POWER_SPREAD_W = 3.0
MAX_TEMPERATURE_C = 65.0
MAX_SLOPE_C_PER_MIN = 2.0

Latest = Mapping[str, tuple[int, float]]
"""Channel -> time (ns of the run clock) and value of its last reading."""


class Gate:
    """Fed with the latest readings about once a second; `blockers` says what still keeps it shut."""

    def __init__(self, channels: Sequence[Mapping[str, Any]], quiet_s: float) -> None:
        used = [channel for channel in channels if channel.get("allocated", True)]
        self._quiet_ns = round(quiet_s * NS_PER_S)
        self._power = [
            c["channel"] for c in used if c["kind"] == "power" and c["evidence"] != "estimated" and c.get("averaging_ms") is not None
        ]
        self._temperature = [c["channel"] for c in used if c["kind"] == "gauge" and c["unit"] == "degC"]
        self._utilisation = [c["channel"] for c in used if c["kind"] == "gauge" and c["unit"] == "%" and "util" in c["channel"]]
        self._history: dict[str, deque[tuple[int, float]]] = {name: deque() for name in self.channels}
        self._began_ns: int | None = None

    @property
    def channels(self) -> list[str]:
        """What the gate looks at; where this is empty there is nothing to wait for."""
        return [*self._power, *self._temperature, *self._utilisation]

    def observe(self, now_ns: int, latest: Latest) -> None:
        """Take the latest readings."""
        if self._began_ns is None:
            self._began_ns = now_ns
        for name, history in self._history.items():
            if name in latest and (not history or latest[name][0] > history[-1][0]):
                history.append(latest[name])
            while history and history[0][0] < now_ns - self._quiet_ns:
                history.popleft()

    def blockers(self, now_ns: int) -> list[str]:
        """Why the gate is shut, one sentence each; empty when it is open."""
        if self._began_ns is None or now_ns - self._began_ns < self._quiet_ns:
            return ["the time of quiet is not over"]
        found = [f"{name} gave no reading" for name, history in self._history.items() if not history]
        for name in self._power:
            values = [value for _, value in self._history[name]]
            if values and max(values) - min(values) > 2 * MAX_POWER_SPREAD_W:
                found.append(f"{name} moves by {max(values) - min(values):.1f} W (limit: within {MAX_POWER_SPREAD_W:g} W of its middle)")
        for name in self._utilisation:
            top = max((value for _, value in self._history[name]), default=0.0)
            if top > MAX_UTILISATION_PERCENT:
                found.append(f"{name} is at {top:.0f} % (limit {MAX_UTILISATION_PERCENT:g} %)")
        for name in self._temperature:
            found += self._temperature_blockers(name)
        return found

    def _temperature_blockers(self, name: str) -> list[str]:
        history = self._history[name]
        if not history:
            return []
        (first_ns, first), (last_ns, last) = history[0], history[-1]
        if last > MAX_TEMPERATURE_C:
            return [f"{name} is at {last:.0f} degC (limit {MAX_TEMPERATURE_C:g} degC)"]
        minutes = (last_ns - first_ns) / NS_PER_S / 60
        slope = (last - first) / minutes if minutes > 0 else 0.0
        if abs(last - first) > 1.0 and abs(slope) > MAX_SLOPE_C_PER_MIN:  # one degree is the step of most sensors
            return [f"{name} changes by {slope:+.1f} degC a minute (limit {MAX_SLOPE_C_PER_MIN:g})"]
        return []
