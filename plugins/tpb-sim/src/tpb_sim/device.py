"""A device of the world: what it draws while idle and while a step runs, segment by segment."""

from __future__ import annotations

import math

from tpb_sim.cost import StaticPower
from tpb_sim.trace import PowerTrace

IDLE_SLICE_NS = 250_000_000
"""Longest segment of a device whose static power drifts."""


class Device:
    """One GPU. Its trace is always complete up to the present; the engine adds steps ahead of sleeping through them."""

    def __init__(self, name: str, start_ns: int, static: StaticPower) -> None:
        self.name = name
        self.trace = PowerTrace(start_ns, static.bare_w)
        self.static = static
        self.loaded = False
        self._excess_w = 0.0

    def idle_until(self, t_ns: int) -> None:
        """Static power up to `t_ns`; nothing where the trace is there already."""
        while self.trace.end_ns < t_ns:
            t1_ns = min(t_ns, self.trace.end_ns + IDLE_SLICE_NS) if self.static.rise else t_ns
            self._segment(t1_ns, 0.0)

    def run(self, t0_ns: int, t1_ns: int, step_w: float) -> float:
        """A step that draws `step_w` above static power in [t0_ns, t1_ns). Returns the static power in W during it."""
        self.idle_until(t0_ns)
        return self._segment(t1_ns, step_w)

    def _segment(self, t1_ns: int, step_w: float) -> float:
        duration_s = (t1_ns - self.trace.end_ns) / 1e9
        static_w = (self.static.loaded_w if self.loaded else self.static.bare_w) + self._mean_excess_w(duration_s, step_w)
        self.trace.append(t1_ns, static_w + step_w)
        return static_w

    def _mean_excess_w(self, duration_s: float, step_w: float) -> float:
        """Mean over the segment of x with dx/dt = (rise * step_w - x) / tau, which moves on by the segment."""
        if not self.static.rise or duration_s <= 0.0:
            return self._excess_w
        target_w, ratio = self.static.rise * step_w, duration_s / self.static.tau_s
        start_w = self._excess_w
        self._excess_w = target_w + (start_w - target_w) * math.exp(-ratio)
        return target_w + (start_w - target_w) * -math.expm1(-ratio) / ratio
