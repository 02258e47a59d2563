"""Observations: what one channel says, as mean power over known stretches of time. Counters and power readings become the same thing.

A counter gives increments between the instants at which it changed; a power reading is the mean over the averaging time before it, late
by its delay. Each observation also stands for a cell of time; cells follow one another without overlap, and sums over them give energy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tpb_core.energy.counters import Unwrapped, change_edges, unwrap
from tpb_core.energy.refresh_grid import UNEVEN, even, in_step, in_turns

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SLOW_POLL = 0.7
"""Reads further apart than this share of the refresh period are taken one by one; closer ones are reduced to changes."""
HOLE_FACTOR = 3.0
"""Power readings further apart than this multiple of what is usual leave a hole."""
SHORTEST_S = 1e-6
MEMORY_REFRESHES = 5
MEMORY_AVERAGINGS = 3


@dataclass(frozen=True)
class Observations:
    """n observations in time order; all times in seconds of one origin.

    `mean_w` is the mean power over `[lo_s, hi_s]`; both stamps are known up to a uniform error of full width `jitter_lo_s` and
    `jitter_hi_s` (independent ends for increments, one common shift for readings). `[cell_lo_s, cell_hi_s]` is the time that the
    observation stands for. `good` is False for holes; what stands there was bridged and is no evidence.
    """

    lo_s: Floats
    hi_s: Floats
    mean_w: Floats
    cell_lo_s: Floats
    cell_hi_s: Floats
    jitter_lo_s: Floats
    jitter_hi_s: Floats
    good: Bools
    increments: bool
    refresh_s: float
    averaging_s: float
    coverage: float
    """Share of the time that enters readings: averaging over refresh, at most 1; 1 for counters."""
    first_read_s: float
    last_read_s: float
    lateness_s: float
    """Full width of how late reads see a refresh: what an unknown shift common to all stamps may be."""
    quantum_w: float = 0.0
    """Smallest step of a power reading, watts."""

    def __len__(self) -> int:
        return len(self.mean_w)

    @property
    def memory_s(self) -> float:
        """Seconds within which observations are not independent of one another, at least: what a block of them has to last."""
        return max(MEMORY_AVERAGINGS * self.averaging_s, MEMORY_REFRESHES * self.refresh_s)

    @property
    def told(self) -> bool:
        """Whether reads come so often that they show when refreshes come."""
        return self.lateness_s < SLOW_POLL * self.refresh_s

    def between(self, t0_s: float, t1_s: float) -> slice:
        """Rows whose cell or kernel touches `[t0_s, t1_s]`."""
        start = min(int(np.searchsorted(self.cell_hi_s, t0_s, "right")), int(np.searchsorted(self.hi_s, t0_s, "right")))
        stop = max(int(np.searchsorted(self.cell_lo_s, t1_s, "left")), int(np.searchsorted(self.lo_s, t1_s, "left")))
        return slice(start, max(start, stop))

    def overlap_s(self, t0_s: float, t1_s: float, rows: slice = slice(None)) -> Floats:
        """Seconds of each cell that lie in the window."""
        return np.asarray(np.maximum(np.minimum(self.cell_hi_s[rows], t1_s) - np.maximum(self.cell_lo_s[rows], t0_s), 0.0))

    def energy_between(self, t0_s: float, t1_s: float) -> float:
        """Joules in the window as the plain sum over cells."""
        rows = self.between(t0_s, t1_s)
        return float(self.overlap_s(t0_s, t1_s, rows) @ self.mean_w[rows])

    def within(self, t0_s: float, t1_s: float) -> int:
        """How many observations have their middle in the window."""
        middle_s = (self.lo_s + self.hi_s) / 2
        return int(((middle_s >= t0_s) & (middle_s < t1_s) & self.good).sum())

    def hole_s(self, t0_s: float, t1_s: float) -> float:
        """Seconds of holes in the window."""
        rows = self.between(t0_s, t1_s)
        return float(self.overlap_s(t0_s, t1_s, rows)[~self.good[rows]].sum())

    def merged(self, rows: slice, most: int) -> Observations:
        """These rows of increments joined so that about `most` are left; holes stay rows of their own. Readings are never joined."""
        size = rows.stop - rows.start
        if not self.increments or size <= most:
            return self
        holes = np.flatnonzero(~self.good[rows])
        starts = np.unique(np.concatenate([np.arange(0, size, -(-size // most)), holes, np.minimum(holes + 1, size - 1)]))
        ends = np.append(starts[1:], size) - 1
        length = self.hi_s[rows] - self.lo_s[rows]
        lo, hi = self.lo_s[rows][starts], self.hi_s[rows][ends]
        mean_w = np.add.reduceat(self.mean_w[rows] * length, starts) / np.maximum(hi - lo, SHORTEST_S)
        cell_lo, cell_hi = self.cell_lo_s[rows][starts], self.cell_hi_s[rows][ends]
        jitter_lo, jitter_hi = self.jitter_lo_s[rows][starts], self.jitter_hi_s[rows][ends]
        return replace(
            self, lo_s=lo, hi_s=hi, mean_w=mean_w, cell_lo_s=cell_lo, cell_hi_s=cell_hi, jitter_lo_s=jitter_lo, jitter_hi_s=jitter_hi,
            good=self.good[rows][starts],
        )  # fmt: skip

    def with_mean_w(self, mean_w: Floats) -> Observations:
        """The same stretches with other powers (a correction, a bridge)."""
        return replace(self, mean_w=mean_w)


def from_counter(
    t_s: Floats,
    value_j: Floats,
    half_width_s: Floats,
    *,
    wrap_j: float | None,
    max_power_w: float | None,
    update_s: float | None,
    delay_s: float,
) -> tuple[Observations, Unwrapped]:
    """Increments of an energy counter between its changes.

    A change seen at a read happened since the read before and within one refresh period; its instant is the middle of that stretch.
    """
    if len(t_s) == 0:
        return nothing_seen(increments=True), unwrap(t_s, value_j, wrap_j=wrap_j, max_power_w=max_power_w)
    counted = unwrap(t_s, value_j, wrap_j=wrap_j, max_power_w=max_power_w)
    edges = change_edges(t_s, counted.energy_j, counted.hole)
    gap = np.diff(t_s, prepend=t_s[:1])
    change_gaps = np.diff(t_s[edges])
    usual_s = float(np.median(change_gaps)) if len(change_gaps) else 0.0
    refresh_s = update_s if update_s is not None else usual_s
    since_s = np.where(gap[edges] > 0, np.minimum(gap[edges], refresh_s), refresh_s)
    lateness_s = float(np.median(since_s)) if len(since_s) else 0.0
    middle_s = t_s[edges] - since_s / 2
    if lateness_s < SLOW_POLL * refresh_s and not counted.hole.any():
        middle_s, since_s = even(middle_s, since_s, refresh_s)
    elif update_s is None:
        pass  # whether there was one refresh a read or several is not known
    elif len(edges) == len(t_s) and (line_s := in_step(t_s, refresh_s)) is not None:
        middle_s, since_s = line_s - lateness_s / 2, np.full_like(since_s, UNEVEN * refresh_s)
    elif not counted.hole.any() and (turns_s := in_turns(t_s, counted.energy_j, refresh_s)) is not None:
        lateness_s = UNEVEN * refresh_s
        middle_s, since_s = turns_s[edges], np.full_like(since_s, lateness_s)
    edge_s = np.maximum.accumulate(middle_s - delay_s)
    length_s = np.maximum(np.diff(edge_s), SHORTEST_S)
    energy_j = np.diff(counted.energy_j[edges])
    good = np.ones(len(energy_j), np.bool_)
    if counted.hole.any():
        good[np.searchsorted(edges, np.flatnonzero(counted.hole), "right") - 1] = False
    jitter = since_s + 2 * half_width_s[edges]
    mean_w = np.where(good, energy_j / length_s, 0.0)
    lo, hi = edge_s[:-1], edge_s[:-1] + length_s
    cell_lo, cell_hi = lo.copy(), hi.copy()
    if len(lo):
        cell_lo[0] = min(cell_lo[0], t_s[0])
        cell_hi[-1] = max(cell_hi[-1], min(t_s[-1], cell_hi[-1] + 1.5 * max(usual_s, refresh_s)))
    first, last = float(t_s[0]), float(t_s[-1])
    observations = Observations(
        lo, hi, mean_w, cell_lo, cell_hi, jitter[:-1], jitter[1:], good, True, max(refresh_s, 0.0), 0.0, 1.0, first, last, lateness_s
    )
    return observations, counted


def from_power(
    t_s: Floats, value_w: Floats, half_width_s: Floats, *, averaging_s: float, update_s: float | None, delay_s: float
) -> Observations:
    """Power readings, each the mean over `averaging_s`, reduced to one a refresh, with holes where readings are missing."""
    if len(t_s) == 0:
        return nothing_seen(increments=False)
    poll_s = float(np.median(np.diff(t_s))) if len(t_s) > 1 else 0.0
    refresh_s = update_s if update_s is not None else _refresh_seen(t_s, value_w, poll_s)
    seen_s, value, since_s, width_s = _refreshes(t_s, value_w, half_width_s, poll_s, refresh_s)
    usual_s = max(poll_s, refresh_s, SHORTEST_S)
    lateness_s = float(np.median(since_s)) if len(since_s) else 0.0
    middle_s = seen_s - since_s / 2
    if lateness_s < SLOW_POLL * refresh_s:
        middle_s, since_s = even(middle_s, since_s, refresh_s)
    hi = middle_s - delay_s
    jitter = since_s + 2 * width_s
    lo = hi - averaging_s
    if averaging_s == 0.0:  # an instant, smeared over what is not known of it
        spread = np.maximum(jitter, SHORTEST_S)
        lo, hi, jitter = hi - spread / 2, hi + spread / 2, np.zeros_like(jitter)
    centre = (lo + hi) / 2
    middle = (centre[1:] + centre[:-1]) / 2
    missing = np.diff(seen_s) > HOLE_FACTOR * usual_s
    cell_lo = np.concatenate([centre[:1] - usual_s / 2, np.where(missing, centre[1:] - usual_s / 2, middle)])
    cell_hi = np.concatenate([np.where(missing, centre[:-1] + usual_s / 2, middle), centre[-1:] + usual_s / 2])
    if len(centre):
        cell_lo[0] = min(cell_lo[0], t_s[0])
        cell_hi[-1] = max(cell_hi[-1], min(t_s[-1], cell_hi[-1] + averaging_s + delay_s + usual_s))
    good = np.ones(len(value), np.bool_)
    where = np.flatnonzero(missing) + 1
    if len(where):
        hole_lo, hole_hi = cell_hi[where - 1], cell_lo[where]
        lo, hi = np.insert(lo, where, hole_lo), np.insert(hi, where, hole_hi)
        cell_lo, cell_hi = np.insert(cell_lo, where, hole_lo), np.insert(cell_hi, where, hole_hi)
        value, jitter, good = np.insert(value, where, 0.0), np.insert(jitter, where, 0.0), np.insert(good, where, False)
    coverage = min(1.0, averaging_s / usual_s)
    first, last = float(t_s[0]), float(t_s[-1])
    return Observations(
        lo, hi, value, cell_lo, cell_hi, jitter, jitter, good, False, refresh_s, averaging_s, coverage, first, last, lateness_s
    )


def nothing_seen(*, increments: bool) -> Observations:
    """Of a channel that delivered nothing."""
    none = np.zeros(0)
    good = np.zeros(0, np.bool_)
    return Observations(none, none, none, none, none, none, none, good, increments, 0.0, 0.0, 1.0, np.inf, -np.inf, 0.0)


def _refresh_seen(t_s: Floats, value: Floats, poll_s: float) -> float:
    """The refresh period as the readings show it: the time between changes, of which longer ones are several periods of steady power."""
    changes = t_s[1:][np.diff(value) != 0]
    if len(changes) <= 2:
        return poll_s
    gap_s = np.diff(changes)
    periods = np.maximum(np.round(gap_s / np.quantile(gap_s, 0.1)), 1.0)
    return float(min(np.median(gap_s), gap_s.sum() / periods.sum()))


def _refreshes(t_s: Floats, value: Floats, half_width_s: Floats, poll_s: float, refresh_s: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Stamp, value, time since which the refresh may have happened, and half width of the call, one row a refresh."""
    gap = np.diff(t_s, prepend=t_s[:1])
    since = np.where(gap > 0, np.minimum(gap, refresh_s), refresh_s)
    if refresh_s <= 0 or poll_s >= SLOW_POLL * refresh_s:
        return t_s, value, np.full_like(since, refresh_s), half_width_s
    new = np.concatenate([[True], (np.diff(value) != 0) | (np.diff(t_s) > HOLE_FACTOR * max(poll_s, refresh_s))])
    first = np.flatnonzero(new)
    last = np.concatenate([first[1:], [len(t_s)]]) - 1
    copies = np.maximum(np.floor((t_s[last] - t_s[first]) / refresh_s + 0.25).astype(np.int64), 1)
    row = np.repeat(first, copies)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(copies) - copies, copies)
    return t_s[row] + nth * refresh_s, value[row], since[row], half_width_s[row]
