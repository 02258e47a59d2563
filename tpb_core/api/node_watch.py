"""Node meters: sensors that stand still, and two ways to the node's power that contradict each other. Each is told once."""

from __future__ import annotations

import collections
from collections.abc import Iterable

from tpb_core.api.channel import Channel
from tpb_core.api.codes import EventCode

_MOVED_REL = 0.05
_MOVED_STEPS = 3
_LOOKS = 10
_STALE_STAMP_NS = 10_000_000_000
_TOGETHER_NS = 10_000_000_000


_WHOLE_SCOPES = ("node", "psu", "outlet")
"""Channels that carry the load of the whole machine. A processor's or a GPU's may rightly stand still while another one's moves."""
_IDLE_FEED = 0.1
"""A feed with less than this share of what another one carries stands by."""


class NodeWatch:
    """Follows accepted readings. `told` collects `(code, message, channel)` for the meter to report."""

    def __init__(self, channels: Iterable[Channel], *, stuck_s: float, disagreement_rel: float) -> None:
        self._channels = {channel.channel: channel for channel in channels}
        self._stuck_ns, self._disagreement_rel = round(stuck_s * 1e9), disagreement_rel
        self._same: dict[str, tuple[float, int, dict[str, tuple[float, float]]]] = {}
        """By channel: value, since when, and least and most of the other channels since then."""
        self._stamps: dict[str, tuple[int, int]] = {}
        self._ratios: collections.deque[float] = collections.deque(maxlen=_LOOKS)
        self._last: dict[str, tuple[float, int]] = {}
        """By channel: watts, and when they were read."""
        self._told: set[tuple[EventCode, str]] = set()
        self.told: list[tuple[EventCode, str, str]] = []

    def reading(self, name: str, watts: float, t_ns: int, stamp_ns: int | None) -> None:
        """One accepted reading of a channel; those that do not carry the whole machine are passed over."""
        if self._channels[name].scope not in _WHOLE_SCOPES or self._channels[name].kind != "power":
            return
        self._last[name] = (watts, t_ns)
        value, since_ns, others = self._same.get(name, (None, t_ns, {}))
        if value != watts:
            self._same[name] = (watts, t_ns, {})
        elif t_ns - since_ns >= self._stuck_ns and (mover := self._mover(watts, others)):
            self._tell(EventCode.STUCK_SENSOR, name, f"shows {watts:g} W for {(t_ns - since_ns) / 1e9:.0f} s while {mover}")
        for other, (_, _, seen) in self._same.items():
            if other != name:
                low, high = seen.get(name, (watts, watts))
                seen[name] = (min(low, watts), max(high, watts))
        if stamp_ns is not None:
            self._stamp(name, stamp_ns, t_ns)

    def sum_of_parts(self) -> None:
        """After a round: compare the sum of the supplies with the check on the node, mean over ten rounds."""
        parts = [c for c in self._channels.values() if c.role == "part" and c.kind == "power"]
        whole = [c for c in self._channels.values() if c.scope == "node" and c.role == "check" and c.kind == "power"]
        checks = [c for c in whole if parts and c.domain == parts[0].domain]
        if not checks or any(channel.channel not in self._last for channel in (*parts, checks[0])):
            return
        check = checks[0].channel
        stamps_ns = [self._last[channel.channel][1] for channel in (*parts, checks[0])]
        if max(stamps_ns) - min(stamps_ns) > _TOGETHER_NS:  # one of them is not read any more
            return
        total_w = sum(self._last[part.channel][0] for part in parts)
        whole_w = self._last[check][0]
        steps_w = sum((channel.resolution or 0.0) for channel in (*parts, checks[0]))
        if total_w <= 0:
            return
        surely = max(0.0, abs(whole_w - total_w) - steps_w) / total_w
        self._ratios.append(surely if whole_w >= total_w else -surely)
        mean = sum(self._ratios) / len(self._ratios)
        if len(self._ratios) == _LOOKS and abs(mean) > self._disagreement_rel:
            message = f"shows {whole_w:g} W, {mean:+.0%} against the sum of {len(parts)} feeds ({total_w:g} W)"
            hint = "; it may leave out what is not in the managed domain (GPU trays)" if mean < 0 else ""
            self._tell(EventCode.METER_DISAGREEMENT, check, message + hint)

    def end_of_load(self, since_ns: int, now_ns: int) -> None:
        """At the end of a window under load that began at `since_ns`: channels that showed one value from before it until now."""
        for name, (watts, same_since_ns, _) in self._same.items():
            if same_since_ns < since_ns and now_ns - since_ns >= self._stuck_ns:
                seconds = (now_ns - same_since_ns) / 1e9
                self._tell(EventCode.STUCK_SENSOR, name, f"shows {watts:g} W for {seconds:.0f} s, from before the load to its end")

    def _stamp(self, name: str, stamp_ns: int, t_ns: int) -> None:
        known = self._stamps.get(name)
        if known is None or known[0] != stamp_ns:
            self._stamps[name] = (stamp_ns, t_ns)
        elif t_ns - known[1] >= max(_STALE_STAMP_NS, self._stuck_ns // 3):
            message = f"stale: the controller's own time stamp stands still for {(t_ns - known[1]) / 1e9:.0f} s"
            self._tell(EventCode.STUCK_SENSOR, name, message)

    def _mover(self, watts: float, others: dict[str, tuple[float, float]]) -> str | None:
        for other, (low, high) in others.items():
            step = self._channels[other].resolution or 0.0
            if watts >= _IDLE_FEED * high and high - low > max(_MOVED_REL * high, _MOVED_STEPS * step):
                return f"{other} moves from {low:g} to {high:g} W"
        return None

    def _tell(self, code: EventCode, name: str, message: str) -> None:
        if (code, name) not in self._told:
            self._told.add((code, name))
            self.told.append((code, message, name))
