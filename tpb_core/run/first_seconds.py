"""Characterisation at start: what the first seconds of each channel's own samples show. No extra reading, no privileges.

Refresh period, resolution, cost of a reading, plausibility. It fills in what the meter left open and never replaces what it declares.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from tpb_core.api.channel import LEDGER_KINDS, Channel
from tpb_core.api.units import NS_PER_S
from tpb_core.energy.refresh_seen import refresh_seen, resolution_seen

LENGTH_NS = 5 * NS_PER_S
LEAST_FOR_POWER_NS = 2 * NS_PER_S
"""A counter read for less time says too little of its power."""
MOST_ROWS = 20_000
RATIO_LIMITS = (0.8, 1.25)
"""Counter over integral of power: both come from one sensor, and five seconds leave some percent of edge error."""

Row = tuple[int, int, float]


class FirstSeconds:
    """Rows of ledger channels until the time is over; `looked` then says what they show."""

    def __init__(self, channels: Sequence[Channel], begin_ns: int) -> None:
        self._channels = {channel.channel: channel for channel in channels if channel.kind in LEDGER_KINDS}
        self._rows: dict[str, list[Row]] = {name: [] for name in self._channels}
        self._end_ns = begin_ns + LENGTH_NS

    def over(self, now_ns: int) -> bool:
        """Whether the time is over."""
        return now_ns >= self._end_ns

    def see(self, channel: str, t_ns: int, half_width_ns: int, value: float) -> None:
        """One reading."""
        rows = self._rows.get(channel)
        if rows is not None and len(rows) < MOST_ROWS:
            rows.append((t_ns, half_width_ns, value))

    def looked(self) -> dict[str, dict[str, Any]]:
        """Channel -> what was seen, as JSON values; channels without two readings are left out."""
        found = {name: self._look(channel) for name, channel in self._channels.items() if len(self._rows[name]) > 1}
        for name, channel in self._channels.items():
            if channel.kind == "energy_counter" and name in found:
                self._compare(channel, found[name])
        return found

    def _look(self, channel: Channel) -> dict[str, Any]:
        rows = self._rows[channel.channel]
        t_ns, value = [row[0] for row in rows], [row[2] for row in rows]
        refresh = refresh_seen(t_ns, value)
        seen: dict[str, Any] = {
            "seconds": (t_ns[-1] - t_ns[0]) / NS_PER_S,
            "readings": len(rows),
            "reading_us": 2e-3 * statistics.median(row[1] for row in rows),
            "resolution": resolution_seen(value),
            "refresh": None,
        }
        if refresh is not None:
            gaps = {"median_ms": refresh.median_ms, "p10_ms": refresh.p10_ms, "p90_ms": refresh.p90_ms, "gaps": refresh.gaps}
            seen["refresh"] = {**gaps, "period_ms": refresh.period_ms, "period_u_ms": refresh.period_u_ms}
        seen["plausible"], seen["problem"] = self._plausible(channel, t_ns, value)
        return seen

    def _plausible(self, channel: Channel, t_ns: list[int], value: list[float]) -> tuple[bool | None, str | None]:
        """Whether all power lies above 0 and below the most that the device can draw; None where that cannot be told."""
        if channel.kind == "energy_counter":
            if t_ns[-1] - t_ns[0] < LEAST_FOR_POWER_NS:
                return None, None
            powers = [(value[-1] - value[0]) / ((t_ns[-1] - t_ns[0]) / NS_PER_S)]
            if powers[0] < 0:  # it wrapped or was reset, which attribution looks into
                return None, None
        else:
            powers = value
        low, high = min(powers), max(powers)
        if low <= 0:
            return False, f"a power of {low:g} W"
        if channel.max_power_w is not None and high >= channel.max_power_w:
            return False, f"a power of {high:g} W, and the most that is plausible is {channel.max_power_w:g} W"
        return True, None

    def _compare(self, counter: Channel, seen: dict[str, Any]) -> None:
        """The counter against the integral of a power reading of the same sensor over the time that both were read."""
        powers = [c for c in self._channels.values() if c.kind == "power" and c.domain == counter.domain]
        partner = next((c for c in powers if c.sensor is not None and c.sensor == counter.sensor), None)
        if partner is None or len(self._rows[partner.channel]) < 2:
            return
        energy, power = self._rows[counter.channel], self._rows[partner.channel]
        length_ns = energy[-1][0] - energy[0][0]
        joules = energy[-1][2] - energy[0][2]
        inside = [row[2] for row in power if energy[0][0] <= row[0] <= energy[-1][0]]
        if length_ns < LEAST_FOR_POWER_NS or joules <= 0 or not inside or statistics.fmean(inside) <= 0:
            return
        ratio = joules / (statistics.fmean(inside) * length_ns / NS_PER_S)
        seen["counter_over_integral"], seen["integral_of"] = ratio, partner.channel
        if not RATIO_LIMITS[0] <= ratio <= RATIO_LIMITS[1] and seen["plausible"] is not False:
            seen["plausible"], seen["problem"] = False, f"the counter gives {ratio:.2f} times the integral of {partner.channel}"


def fill_in(row: dict[str, Any], seen: dict[str, Any]) -> None:
    """Put what was seen into a channel's manifest row, and into the keys that the meter left null."""
    filled = []
    refresh = seen["refresh"] or {}
    if row.get("update_ms") is None and refresh.get("period_ms") is not None:
        row["update_ms"], row["update_u_ms"] = round(refresh["period_ms"], 3), round(refresh["period_u_ms"], 3)
        filled.append("update_ms")
    if row.get("resolution") is None and seen["resolution"] is not None:
        row["resolution"] = seen["resolution"]
        filled.append("resolution")
    row["x_characterised"] = {**seen, "filled_in": filled, "evidence": "characterised"}
