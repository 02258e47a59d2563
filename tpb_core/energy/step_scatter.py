"""Scatter of steps: how far the energies of single steps lie from what a model says of them, told from what it leaves of the readings.

Readings also scatter by their own noise, by stamps that move energy from one to the next, by when a sensor looked that does not always
look, and by slow drift. None of these is scatter of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from tpb_core.energy.activity import Activity
from tpb_core.energy.block_differences import Said, differences
from tpb_core.energy.covariance import noise_of, second_differences
from tpb_core.energy.intervals import positive_part
from tpb_core.energy.observations import Observations
from tpb_core.energy.scatter_parts import scatter_beside
from tpb_core.energy.steps_said import Steps, when_it_looked

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LONGER = 4
"""Blocks whose differences are compared: these many times as long as one another."""
LEAST_DIFFERENCES = 6
OVERLAP = 0.5
"""Readings that average over a larger share of the time between them share energy with their neighbours."""
SHOWN = 2.0
"""In standard errors: what blocks of independent scatter have in common by chance is no drift."""


@dataclass(frozen=True)
class StepScatter:
    """`relative2`: variance of the energy of a step relative to its square, from scatter with `dof`. `drift2`: that of what all steps of a
    request have in common, because power drifts slowly.
    """

    relative2: float
    dof: float
    drift2: float = 0.0


@dataclass(frozen=True)
class Left:
    """What a model with `unknowns` leaves of the readings in `rows`, watts. Readings are `shift_s` later than they say, and `noise_w` of
    their scatter is their own.
    """

    observations: Observations
    rows: slice
    unexplained_w: Floats
    shift_s: float
    noise_w: float
    unknowns: int

    @cached_property
    def cell_s(self) -> Floats:
        """Seconds for which each reading speaks."""
        return self.observations.cell_hi_s[self.rows] - self.observations.cell_lo_s[self.rows]

    @property
    def readings(self) -> int:
        """How many there are, holes among them."""
        return len(self.unexplained_w)

    @cached_property
    def good(self) -> npt.NDArray[np.bool_]:
        """False for holes."""
        return self.observations.good[self.rows]

    @cached_property
    def looked_s(self) -> tuple[Floats, Floats]:
        """When each reading looked: a counter that adds up readings looks for a part of the time, somewhere in its increment."""
        lo, hi = self.observations.lo_s[self.rows] - self.shift_s, self.observations.hi_s[self.rows] - self.shift_s
        if not self.observations.increments or self.observations.coverage == 1.0:
            return lo, hi
        half = (hi - lo) * self.observations.coverage / 2
        return (lo + hi) / 2 - half, (lo + hi) / 2 + half

    @cached_property
    def unsure_s(self) -> Floats:
        """Full width of where in its increment, or how late, each reading may have looked instead."""
        if self.observations.increments:
            return (self.observations.hi_s - self.observations.lo_s)[self.rows] * (1.0 - self.observations.coverage)
        return self.observations.jitter_hi_s[self.rows]

    def elsewhere_j2(self, steps: Steps) -> Floats:
        """Variance of what each reading would have said had it looked elsewhere."""
        return np.asarray(when_it_looked(steps, *self.looked_s, self.unsure_s) * self.cell_s**2)

    @property
    def block(self) -> int:
        """Readings to which the same energy may belong."""
        usual = float(np.median(self.cell_s)) if len(self.cell_s) else 1.0
        return 1 if self.observations.increments else max(round(self.observations.averaging_s / max(usual, 1e-9)), 1)

    @property
    def moves(self) -> bool:
        """Whether neighbours make up for each other: uncertain stamps, or the same energy in both."""
        if self.observations.increments:
            return self.observations.coverage == 1.0
        return self.observations.averaging_s > OVERLAP * float(np.median(self.cell_s))


def reading_noise(observations: Observations, spans_s: Sequence[tuple[float, float]]) -> float:
    """Standard deviation of single readings where nothing runs, watts: at least their rounding; 0 of counters that miss nothing."""
    if observations.increments and observations.coverage == 1.0:
        return 0.0
    second = [np.zeros(0)]
    for t0_s, t1_s in spans_s:
        inside = (observations.lo_s >= t0_s) & (observations.hi_s <= t1_s)
        second.append(second_differences(observations.mean_w[inside], observations.good[inside]))
    return max(noise_of(np.concatenate(second)), observations.quantum_w / float(np.sqrt(12)))


def step_scatter(left: Left, steps: Steps, together_s: float) -> StepScatter:
    """Scatter of steps that explains what is left of the readings; drift over `together_s`, the time that a request takes.

    If energies of steps scattered independently by all of themselves, the squared difference of neighbouring blocks of readings would be
    expected to be the sum of squares of what each step puts into one and not into the other. Stamps and averages add as much to differences
    of long blocks as of short ones: the difference of the two is free of them, and, as in an Allan variance, of slow drift. Readings that
    have nothing in common tell most one by one; what lies far out tells that power changed while the sensor did not look.
    """
    energy_j = np.where(left.good, left.unexplained_w * left.cell_s, 0.0)
    said = Said(steps, *left.looked_s, left.cell_s)
    size = int(left.good.sum())
    fitted = size / max(size - left.unknowns, size / 2, 1)
    short = differences(energy_j, left.good, said, left.block, None if left.moves else left.elsewhere_j2(steps))
    noise_j2 = (left.noise_w * float(np.mean(left.cell_s))) ** 2 if size else 0.0
    if not left.moves:
        estimate, error = scatter_beside(short, 2 * noise_j2)
        dof = short.dof
    else:
        long = differences(energy_j, left.good, said, LONGER * left.block)
        told = float(long.expected.mean() - short.expected.mean()) if len(long) >= LEAST_DIFFERENCES else 0.0
        if told > 0.0:
            more = 2 * (LONGER - 1) * left.block * noise_j2
            estimate = (float(long.squared.mean() - short.squared.mean()) - more) / told
            error, dof = float(np.hypot(long.error, short.error)) / told, long.dof
        else:  # too short to tell: all of the scatter is taken to be that of steps
            estimate = short.ratio
            error, dof = estimate * float(np.sqrt(2 / short.dof)), short.dof
    relative2, _ = positive_part(estimate * fitted, error * fitted)
    return StepScatter(relative2, dof, _drift(left, energy_j, steps, together_s))


def time_together_s(activity: Activity, rows: Ints) -> float:
    """Mean time from the first to the last of some steps that a request takes part in; 0 where members are not known."""
    members = activity.members
    if members is None or len(rows) == 0:
        return 0.0
    count = np.diff(members.offsets)[rows]
    flat = np.repeat(members.offsets[rows] - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
    step, request = np.repeat(rows, count), members.request[flat]
    if len(request) == 0:
        return 0.0
    gaps = int(np.ptp(request)) > len(request)  # in the numbers that requests have
    place: Ints = np.unique(request, return_inverse=True)[1] if gaps else request - request.min()
    first = np.full(int(place.max()) + 1, -1)
    last = first.copy()
    first[place[::-1]], last[place] = step[::-1], step  # of several steps of a request, the one that is written last stays
    took_part = first >= 0
    return float(np.mean(activity.t1_s[last[took_part]] - activity.t0_s[first[took_part]]))


def _drift(left: Left, energy_j: Floats, steps: Steps, together_s: float) -> float:
    """Relative variance of what lasts for `together_s`: the covariance of blocks half as long, between which a short one is left out."""
    usual_s = float(np.mean(left.cell_s)) if len(left.cell_s) else 1.0
    block = max(round(together_s / 2 / usual_s), left.block)
    total = np.concatenate([[0.0], np.cumsum(energy_j)])
    sums = total[block:] - total[:-block]
    apart = block + left.block
    busy_s = float((steps.t1_s - steps.t0_s).sum())
    if together_s <= 0 or len(sums) <= LEAST_DIFFERENCES * apart or busy_s <= 0:
        return 0.0
    common_j2 = float(np.mean(sums[:-apart] * sums[apart:]))
    error_j2 = float(np.mean(sums**2)) / float(np.sqrt(len(energy_j) / block))
    if common_j2 <= SHOWN * error_j2:
        return 0.0
    return common_j2 / (float(steps.joules.sum()) / busy_s * block * usual_s) ** 2
