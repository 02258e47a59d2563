"""Filters: what a sensor with an averaging time, a delay and uncertain stamps would read of a phase that draws one watt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpb_core.energy.observations import Observations
from tpb_core.energy.timeline import State, Timeline

Floats = npt.NDArray[np.float64]

JITTER_NODES = 4
LEAST_PIECES = 16
LEAST_PIECES_A_RUN = 4
JITTER_MATTERS = 0.02
"""Below this share of an observation's length, the smear of its stamps is left out of the filter."""


class Columns:
    """The indicator columns of a window: each state inside it, and busy and idle time before and after it.

    `names` are `("in", state)`, `("before", busy)`, `("after", busy)` and `("drift", state)`: the place within a run of that state, centred, because decode draws
    more (or less) as contexts grow. `durations_s` are seconds of each column inside the window (0 for all but `in`).
    """

    def __init__(self, timeline: Timeline, t0_s: float, t1_s: float, span_s: tuple[float, float]) -> None:
        self.t0_s, self.t1_s = t0_s, t1_s
        edges, state = timeline.edge_s, timeline.state
        lo, hi = span_s
        start = max(int(np.searchsorted(edges, lo, "right")) - 1, 0)
        stop = min(int(np.searchsorted(edges, hi, "left")) + 1, len(edges))
        inner, kind = edges[start:stop], state[start : max(stop - 1, 0)]
        points = np.concatenate([[lo], inner[(inner > lo) & (inner < hi)], [hi]])
        for boundary in (t0_s, t1_s):
            if lo < boundary < hi:
                points = np.insert(points, int(np.searchsorted(points, boundary)), boundary)
        middle = (points[1:] + points[:-1]) / 2
        row = np.searchsorted(inner, middle, "right") - 1
        known = (row >= 0) & (row < len(kind))
        here = np.where(known, kind[np.clip(row, 0, max(len(kind) - 1, 0))] if len(kind) else 0, State.IDLE)
        inside = (middle >= t0_s) & (middle < t1_s)
        length = np.diff(points)
        masks: list[tuple[tuple[str, int], npt.NDArray[np.bool_]]] = [(("in", int(s)), inside & (here == s)) for s in State]
        for side, outside in (("before", middle < t0_s), ("after", middle >= t1_s)):
            masks += [((side, 1), outside & (here != State.IDLE)), ((side, 0), outside & (here == State.IDLE))]
        weights = [(name, mask.astype(np.float64)) for name, mask in masks if length[mask].sum() > 0]
        drift = _position(here, middle, points, inside & (here == State.DECODE))
        if drift is not None:
            weights.append((("drift", int(State.DECODE)), drift))
        self.names = [name for name, _ in weights]
        self.points = points
        self.cumulative = np.zeros((len(points), len(weights)))
        for j, (_, weight) in enumerate(weights):
            self.cumulative[1:, j] = np.cumsum(weight * length)
        inside_s = [float(weight @ length) if name[0] == "in" else 0.0 for name, weight in weights]
        self.durations_s = np.array(inside_s)

    def seconds_until(self, t_s: Floats) -> Floats:
        """(n, columns): seconds of each column up to each time."""
        row = np.clip(np.searchsorted(self.points, t_s, "right") - 1, 0, len(self.points) - 2)
        share = np.clip((t_s - self.points[row]) / (self.points[row + 1] - self.points[row]), 0.0, 1.0)
        low = self.cumulative[row]
        return np.asarray(low + share[:, None] * (self.cumulative[row + 1] - low))

    def filtered(self, observations: Observations, rows: slice, shift_s: float = 0.0, wider_s: float = 0.0, smear: float = 1.0) -> Floats:
        """(n, columns): the mean of each indicator over each observation's stretch, its stamps smeared as they are uncertain.

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
            return self.seconds_until(t_s)
        total = np.zeros((len(t_s), len(self.names)))
        for node in (np.arange(JITTER_NODES) + 0.5) / JITTER_NODES - 0.5:
            total += self.seconds_until(t_s + node * jitter_s)
        return total / JITTER_NODES


def _position(here: npt.NDArray[np.integer], middle: Floats, points: Floats, mask: npt.NDArray[np.bool_]) -> Floats | None:
    """Place of each piece within its unbroken run of one state, from -0.5 to 0.5 of the longest; mean 0; None without runs of pieces."""
    if mask.sum() < LEAST_PIECES:
        return None
    begins = np.concatenate([[True], here[1:] != here[:-1]])
    if mask.sum() < LEAST_PIECES_A_RUN * (begins & mask).sum():
        return None
    since = middle - points[:-1][np.maximum.accumulate(np.where(begins, np.arange(len(here)), 0))]
    length = np.diff(points)[mask]
    since = np.where(mask, since, 0.0)
    centred = np.where(mask, since - float(since[mask] @ length / length.sum()), 0.0)
    spread = float(np.ptp(centred[mask]))
    return centred / spread if spread > 0 else None
