"""Filters: what a sensor with an averaging time, a delay and uncertain stamps would read of piecewise-constant signals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpb_core.energy.observations import Observations

Floats = npt.NDArray[np.float64]

JITTER_NODES = 4
JITTER_MATTERS = 0.02
"""Below this share of an observation's length, the smear of its stamps is left out of the filter."""


class Filter:
    """Signals that are constant between `points`; `cumulative` (points x signals) holds their integrals up to each point."""

    def __init__(self, points: Floats, signals: list[Floats]) -> None:
        self.points = points
        self.cumulative = np.zeros((len(points), len(signals)))
        length = np.diff(points)
        for j, signal in enumerate(signals):
            self.cumulative[1:, j] = np.cumsum(signal * length)

    def until(self, t_s: Floats) -> Floats:
        """(n, signals): the integral of each signal up to each time."""
        row = np.clip(np.searchsorted(self.points, t_s, "right") - 1, 0, len(self.points) - 2)
        share = np.clip((t_s - self.points[row]) / (self.points[row + 1] - self.points[row]), 0.0, 1.0)
        low = self.cumulative[row]
        return np.asarray(low + share[:, None] * (self.cumulative[row + 1] - low))

    def filtered(self, observations: Observations, rows: slice, shift_s: float = 0.0, wider_s: float = 0.0, smear: float = 1.0) -> Floats:
        """(n, signals): the mean of each signal over each observation's stretch, its stamps smeared as they are uncertain.

        `shift_s` moves the stretches earlier (more delay), `wider_s` lengthens them backwards (more averaging), `smear` is the share of
        the stamps' uncertainty that varies from row to row.
        """
        lo, hi = observations.lo_s[rows] - shift_s - wider_s, observations.hi_s[rows] - shift_s
        width = hi - lo
        upto_hi = self._smeared(hi, smear * observations.jitter_hi_s[rows], width)
        if observations.increments and wider_s == 0.0:  # increments follow one another: one edge serves two of them
            upto_lo = np.empty_like(upto_hi)
            upto_lo[1:] = upto_hi[:-1]
            upto_lo[:1] = self._smeared(lo[:1], smear * observations.jitter_lo_s[rows][:1], width[:1])
        else:
            upto_lo = self._smeared(lo, smear * observations.jitter_lo_s[rows], width)
        return np.asarray((upto_hi - upto_lo) / width[:, None])

    def _smeared(self, t_s: Floats, jitter_s: Floats, width_s: Floats) -> Floats:
        if len(t_s) == 0 or not (jitter_s > JITTER_MATTERS * width_s).any():
            return self.until(t_s)
        total = np.zeros((len(t_s), self.cumulative.shape[1]))
        for node in (np.arange(JITTER_NODES) + 0.5) / JITTER_NODES - 0.5:
            total += self.until(t_s + node * jitter_s)
        return total / JITTER_NODES
