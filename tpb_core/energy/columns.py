"""The columns of a window's regression: which state the domain is in, and what makes the power of a state vary."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tpb_core.energy.filters import Filter
from tpb_core.energy.timeline import BUSY, State, Timeline

Floats = npt.NDArray[np.float64]

LEAST_PIECES = 16
LEAST_PIECES_OF_A_RATE = 2
LEAST_PIECES_A_RUN = 4
AN_INSTANT_S = 1e-7


class Columns(Filter):
    """Indicators of each state of a window, and of idle time before and after it.

    A busy state draws the same just outside the window: a step may lie across its edge. What ran only outside has columns of its own.
    `names` are `("in", state)`, `("before", busy)`, `("after", busy)` and `("drift", state)`. A drift is what makes the power of a state
    vary: the place within a run of decode steps (contexts grow), or `covariates` by name (one value a piece of the timeline). It is
    centred over its state, so that it changes no energy. `durations_s` are seconds inside the window, 0 for all but `in`. Of each piece
    between two `points`: its `state`, and whether it is `inside` the window.
    """

    def __init__(
        self,
        timeline: Timeline,
        t0_s: float,
        t1_s: float,
        span_s: tuple[float, float],
        covariates: Mapping[str, Floats] | None = None,
    ) -> None:
        self.t0_s, self.t1_s = t0_s, t1_s
        points, row = pieces(timeline, span_s, (t0_s, t1_s))
        length, middle = np.diff(points), (points[1:] + points[:-1]) / 2
        here = np.where(row >= 0, timeline.state[np.maximum(row, 0)], State.IDLE) if len(timeline.state) else np.zeros(len(row), np.int8)
        inside = (middle >= t0_s) & (middle < t1_s)
        self.inside, self.state = inside, here
        ran = [s for s in BUSY if (inside & (here == s)).any()]
        masks: list[tuple[tuple[str, int], npt.NDArray[np.bool_]]] = [(("in", int(s)), here == s) for s in ran]
        masks.insert(0, (("in", int(State.IDLE)), inside & (here == State.IDLE)))
        for side, outside in (("before", middle < t0_s), ("after", middle >= t1_s)):
            busy = (here != State.IDLE) & ~np.isin(here, ran)
            masks += [((side, 1), outside & busy), ((side, 0), outside & (here == State.IDLE))]
        signals = [(name, mask.astype(np.float64)) for name, mask in masks if length[mask].sum() > 0]
        if covariates is None:
            drift = _position(here, middle, points, inside & (here == State.DECODE))
            signals += [] if drift is None else [(("drift", int(State.DECODE)), drift)]
        else:
            for density in covariates.values():
                at = np.where(row >= 0, density[np.maximum(row, 0)], 0.0) if len(density) else np.zeros(len(row))  # no steps here
                for state in (State.PREFILL, State.DECODE, State.MIXED):
                    centred = _centred(at, length, inside & (here == state), here == state)
                    signals += [] if centred is None else [(("drift", int(state)), centred)]
        super().__init__(points, [signal for _, signal in signals])
        self._edge_s = timeline.edge_s
        self.names = [name for name, _ in signals]
        self.durations_s = np.array([float(signal[inside] @ length[inside]) if name[0] == "in" else 0.0 for name, signal in signals])

    def across_s(self, t_s: float) -> tuple[float, float]:
        """Seconds before and after an instant of the step that runs then; 0, 0 where none does or one begins or ends."""
        row = int(np.searchsorted(self._edge_s, t_s, "right"))
        if row in (0, len(self._edge_s)) or t_s - self._edge_s[row - 1] < AN_INSTANT_S or self._edge_s[row] - t_s < AN_INSTANT_S:
            return 0.0, 0.0
        return t_s - float(self._edge_s[row - 1]), float(self._edge_s[row]) - t_s


def pieces(timeline: Timeline, span_s: tuple[float, float], boundaries_s: tuple[float, ...] = ()) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Points that cut a span at every change of the timeline and at the boundaries, and for each piece its row there (-1: outside)."""
    lo, hi = span_s
    edges = timeline.edge_s
    inner = edges[(edges > lo) & (edges < hi)]
    extra = [boundary for boundary in boundaries_s if lo < boundary < hi]
    points = np.unique(np.concatenate([[lo], inner, extra, [hi]]))
    row = np.searchsorted(edges, (points[1:] + points[:-1]) / 2, "right") - 1
    return points, np.where((row >= 0) & (row < len(timeline.state)), row, -1)


def _centred(value: Floats, length: Floats, mask: npt.NDArray[np.bool_], wider: npt.NDArray[np.bool_]) -> Floats | None:
    """A covariate within one state: mean 0 over the time of `mask`, nearly all of it within a range of 1, continued over `wider`.

    None where it does not vary. No value is cut off: a rate times its time is an amount of work, however short the step.
    """
    if mask.sum() < LEAST_PIECES_OF_A_RATE:
        return None
    inside = value[mask]
    spread = float(np.quantile(inside, 0.99) - np.quantile(inside, 0.01))
    if spread <= 1e-9 * float(np.abs(inside).max()):
        return None
    mean = float(inside @ length[mask] / length[mask].sum())
    return np.where(wider, (value - mean) / spread, 0.0)


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
