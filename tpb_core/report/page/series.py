"""Readings made ready to be drawn: power as it was read, counters as steps between their changes, thinned to what a picture can show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.api.attributor import Series
from tpb_core.api.channel import Channel
from tpb_core.energy.counters import change_edges, unwrap

Floats = npt.NDArray[np.float64]
BINS = 900
"""Parts of the time axis within which readings are thinned."""


@dataclass(frozen=True)
class Points:
    """Readings of a power channel, watts, at seconds after the origin. `read` is how many there were before thinning."""

    t_s: Floats
    w: Floats
    read: int


@dataclass(frozen=True)
class Steps:
    """Mean watts of a counter from `begin_s` to `end_s`. `changes` is how many changes there were before joining them."""

    begin_s: Floats
    end_s: Floats
    w: Floats
    changes: int


def points_of(series: Series, origin_ns: int, t0_s: float, t1_s: float) -> Points:
    """Readings of power in a span. Of each of `BINS` parts of it at most four are kept: first, last, lowest, highest."""
    t_s = (series.t_ns - origin_ns) / 1e9
    chosen = (t_s >= t0_s) & (t_s <= t1_s) & np.isfinite(series.value)
    t_s, w = t_s[chosen], series.value[chosen]
    read = len(t_s)
    if read > 4 * BINS:
        part = np.minimum(((t_s - t0_s) / max(t1_s - t0_s, 1e-9) * BINS).astype(np.int64), BINS - 1)
        by_level = np.lexsort((w, part))
        kept = np.unique(np.concatenate([_ends(part, np.arange(read)), _ends(part[by_level], by_level)]))
        t_s, w = t_s[kept], w[kept]
    return Points(t_s, w, read)


def _ends(part: npt.NDArray[np.int64], index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Of each run of equal parts the first and the last index."""
    turn = np.flatnonzero(np.diff(part)) + 1
    return np.concatenate([index[np.concatenate([[0], turn])], index[np.concatenate([turn - 1, [len(part) - 1]])]])


def steps_of(series: Series, channel: Channel, origin_ns: int, t0_s: float, t1_s: float) -> Steps:
    """Power between changes of a counter, wraps undone and holes left open.

    Steps are joined until each is a part of the span long; and a change that was seen sooner than half a refresh after the last one
    (a read came late, or the last read early) is joined too, because its power would be that of the reads' timing.
    """
    usable = np.isfinite(series.value)
    t_s, value = (series.t_ns[usable] - origin_ns) / 1e9, series.value[usable]
    counted = unwrap(t_s, value, wrap_j=channel.wrap, max_power_w=channel.max_power_w)
    edges = change_edges(t_s, counted.energy_j, counted.hole)
    edges = edges[(t_s[edges] >= t0_s) & (t_s[edges] <= t1_s)]
    changes = max(len(edges) - 1, 0)
    holes = np.concatenate([[0], np.cumsum(counted.hole)])
    if channel.update_ms and len(edges) > 2:
        early = np.diff(t_s[edges]) < 0.5 * channel.update_ms / 1e3
        early &= holes[edges[1:]] == holes[edges[:-1]]
        edges = edges[np.concatenate([[True], ~early])]
    if len(edges) > BINS:
        part = ((t_s[edges] - t0_s) / max(t1_s - t0_s, 1e-9) * BINS).astype(np.int64)
        beside_hole = np.zeros(len(edges), np.bool_)
        open_step = holes[edges[1:]] > holes[edges[:-1]]
        beside_hole[1:] |= open_step
        beside_hole[:-1] |= open_step
        edges = edges[np.concatenate([[True], np.diff(part) > 0]) | beside_hole]
    if len(edges) < 2:
        nothing = np.zeros(0)
        return Steps(nothing, nothing, nothing, changes)
    begin, end = t_s[edges[:-1]], t_s[edges[1:]]
    whole = (holes[edges[1:]] == holes[edges[:-1]]) & (end > begin)
    energy = counted.energy_j[edges[1:]] - counted.energy_j[edges[:-1]]
    w = energy[whole] / (end[whole] - begin[whole])
    return Steps(begin[whole], end[whole], w, changes)
