"""Averaging window and delay of a sensor, fitted to what it read while a known load was switched on and off.

A reading is taken as `a + b * (mean of the true power over the averaging window before the reading's stamp minus the delay)`, and the true
power as the load's on and off with a rise time of its own. Least squares over a grid, refined; `a` and `b` are eliminated. Source of the
model: docs/explanation/measuring-power.md, 1.3 and 7 (boxcar filter), which follows the published square-wave measurements.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.energy.drive import LEAST_S, Drive
from tpb_core.energy.observations import Observations
from tpb_core.energy.refresh_grid import LEFT_OVER

Floats = npt.NDArray[np.float64]

WINDOWS_S = (LEAST_S, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0)
COARSE_S = 0.1
"""Steps of the delay at first. Loads keep on or off for longer than this, so that the best place cannot lie between two steps unseen."""
RISES_S = (1e-3, 0.03, 0.2)
LONGEST_RISE_S = 3.0
STARTS = 4
REPLICAS = 48
"""Resamplings of blocks; the standard deviation is then known to about a tenth."""
LEAST_FOLLOWED = 0.2
"""Share of the readings' variance that the load must explain for a fit to mean anything."""
HALF_NORMAL = (1 - 2 / np.pi) ** 0.5
"""Standard deviation of a normal of which only one side is possible, in its own."""
PROBE_S = 2e-3
"""Step of numerical derivatives: longer than what rounding of stamps moves."""
LEAST_ROWS = 30
LEAST_EDGES = 6


@dataclass(frozen=True)
class Response:
    """How a sensor follows: seconds with standard uncertainties. `averaging_s` is None for counters, which do not average.

    `rise_s` is the time constant of the true power itself, `step` what the reading gains when the load goes on (its unit),
    `followed` the share of variance explained. `reason` says why there are no figures, None where there are.
    """

    averaging_s: float | None = None
    averaging_u_s: float | None = None
    delay_s: float | None = None
    delay_u_s: float | None = None
    rise_s: float | None = None
    step: float | None = None
    followed: float = 0.0
    edges: int = 0
    readings: int = 0
    reason: str | None = None


def fit_response(
    seen: Observations, drive: Drive, *, longest_delay_s: float = 10.0, seed: int = 0, replicas: int = REPLICAS, rises: bool = True
) -> Response:
    """Fit one channel. `seen` must have been made with an averaging time of `drive.LEAST_S` and no delay (for counters: no delay).

    `rises` is False where the drive is itself a measured power. Uncertainties: block bootstrap (blocks longer than the response), and
    for the delay how late the reads saw each refresh, which is common to all of them.
    """
    fit = _Fit(seen, drive, longest_delay_s, rises)
    inside = int(((drive.edge_s > seen.first_read_s) & (drive.edge_s < seen.last_read_s)).sum())
    rows = len(fit.value)
    if rows < LEAST_ROWS or inside < LEAST_EDGES:
        return Response(edges=inside, readings=rows, reason=f"too little was seen: {rows} readings, {inside} edges of the load")
    if float(np.ptp(fit.value)) == 0.0:
        return Response(edges=inside, readings=rows, reason="the reading never changed while the load did")
    even = np.ones(rows)
    answers = {smear: fit.best(even, smear) for smear in ((0.0, 1.0) if fit.smear_s.any() else (0.0,))}
    smear = min(answers, key=lambda key: answers[key][1])
    best, misfit = answers[smear]
    followed = 1 - misfit / float(((fit.value - fit.value.mean()) ** 2).sum())
    if followed < LEAST_FOLLOWED:
        return Response(followed=followed, edges=inside, readings=rows, reason="the reading does not follow the load")
    drawn = fit.resampled(best, smear, np.random.default_rng(seed), replicas)
    spread = [float(np.std(column, ddof=1)) for column in drawn.T]
    white = fit.linearised(best, smear)
    if best[2] < white[2]:  # a rise at its bound of zero hides what it would take from the delay
        spread = [max(u, HALF_NORMAL * other) for u, other in zip(spread, white, strict=True)]
    # Which of the two smears is true is not known to better than the fit tells: half their difference as a rectangle.
    between = [abs(answers[0.0][0][j] - answers[1.0][0][j]) / 12**0.5 if len(answers) > 1 else 0.0 for j in range(3)]
    delay_u = float(np.sqrt(spread[1] ** 2 + between[1] ** 2 + seen.lateness_s**2 / 12))
    width_u = float(np.sqrt(spread[0] ** 2 + between[0] ** 2 + (LEFT_OVER * seen.lateness_s) ** 2 / 12))
    step = fit.linear(best, smear, even)[1]
    return Response(
        averaging_s=None if seen.increments else (float(best[0]) if best[0] > 2 * LEAST_S else 0.0),
        averaging_u_s=None if seen.increments else width_u,
        delay_s=max(float(best[1]), 0.0),
        delay_u_s=delay_u,
        rise_s=float(best[2]) if rises else None,
        step=step,
        followed=followed,
        edges=inside,
        readings=rows,
    )


class _Fit:
    """The least-squares problem of one channel. Parameters: (window, delay, rise) in seconds."""

    def __init__(self, seen: Observations, drive: Drive, longest_delay_s: float, rises: bool) -> None:
        good = seen.good & (seen.hi_s >= drive.edge_s[0])  # what was drawn before the first edge nobody knows
        self.drive, self.rises, self.increments = drive, rises, seen.increments
        self.lo_s, self.hi_s, self.value = seen.lo_s[good], seen.hi_s[good], seen.mean_w[good]
        self.smear_s = (seen.jitter_lo_s[good] + seen.jitter_hi_s[good]) / 2
        self.refresh_s = max(seen.refresh_s, 1e-3)
        lowest = -(seen.lateness_s + 0.1 * self.refresh_s)
        windows = (LEAST_S, 2 * LEAST_S) if self.increments else (LEAST_S, max(WINDOWS_S[-1], 4 * self.refresh_s))
        self.low = np.array([windows[0], lowest, LEAST_S])
        self.high = np.array([windows[1], max(longest_delay_s, 2 * self.refresh_s), LONGEST_RISE_S if rises else 2 * LEAST_S])

    def predicted(self, at: Floats, smear: float) -> Floats:
        """The load as this sensor would show it, one value a reading."""
        window, delay, rise = at
        hi = self.hi_s - delay
        lo = self.lo_s - delay if self.increments else hi - window
        return self.drive.mean(lo, hi, float(rise), smear * self.smear_s if smear else None)

    def linear(self, at: Floats, smear: float, weight: Floats) -> tuple[float, float]:
        """Offset and step that fit best."""
        x = self.predicted(at, smear)
        total = weight.sum()
        mean_x, mean_y = weight @ x / total, weight @ self.value / total
        variance = weight @ (x - mean_x) ** 2
        step = float(weight @ ((x - mean_x) * (self.value - mean_y)) / variance) if variance > 1e-12 else 0.0
        return float(mean_y - step * mean_x), step

    def residual(self, at: Floats, smear: float, weight: Floats) -> Floats:
        """Weighted residuals with offset and step eliminated."""
        x = self.predicted(at, smear)
        root = np.sqrt(weight)
        design = np.column_stack([root, root * x])
        gram = design.T @ design
        gram[1, 1] += 1e-12 * gram[0, 0]
        answer = np.linalg.solve(gram, design.T @ (root * self.value))
        return np.asarray(root * self.value - design @ answer)

    def best(self, weight: Floats, smear: float) -> tuple[Floats, float]:
        """The best parameters of all, from the best places of a grid; and the sum of squares there."""
        windows = [WINDOWS_S[0]] if self.increments else [w for w in WINDOWS_S if w <= self.high[0]]
        delays = np.arange(max(self.low[1], 0.0), self.high[1], COARSE_S)
        coarse = self._tried(windows[::3], delays, (LEAST_S,), weight)
        near = np.linspace(-COARSE_S, COARSE_S, 9)
        around = {round(float(at[1] + move), 4) for _, at in coarse[:2] for move in near}
        costs = self._tried(windows, np.array(sorted(around)), RISES_S if self.rises else (LEAST_S,), weight)
        starts: list[Floats] = []
        for _, at in costs:  # the best ones that differ
            if all(abs(at - other).max() > 0.02 for other in starts):
                starts.append(at)
            if len(starts) == STARTS:
                break
        answers = [self.refined(at, weight, smear) for at in starts]
        return min(answers, key=lambda pair: pair[1])

    def _tried(self, windows: Sequence[float], delays: Floats, rises: Sequence[float], weight: Floats) -> list[tuple[float, Floats]]:
        """Sum of squares at each place of a grid, the best first."""
        places = [np.array(place) for place in itertools.product(windows, delays, rises)]
        costs = [(float((self.residual(at, 0.0, weight) ** 2).sum()), at) for at in places]
        return sorted(costs, key=lambda pair: pair[0])

    def refined(self, at: Floats, weight: Floats, smear: float) -> tuple[Floats, float]:
        """Least squares from a place, within bounds. Works in milliseconds, so that steps of derivatives are no smaller than rounding."""
        from scipy.optimize import least_squares

        inside = np.clip(at, self.low + 1e-9, self.high - 1e-9)
        done = least_squares(
            lambda ms: self.residual(ms / 1e3, smear, weight),
            1e3 * inside,
            bounds=(1e3 * self.low, 1e3 * self.high),
            diff_step=1e-4,
            x_scale=1e3 * np.array([max(inside[0], 0.02), 0.02, max(inside[2], 0.01)]),
            max_nfev=30,
            ftol=1e-6,
            xtol=1e-5,
        )
        return np.asarray(done.x / 1e3), float(2 * done.cost)

    def linearised(self, best: Floats, smear: float) -> Floats:
        """Standard uncertainties of the parameters from the derivatives, as if none were at a bound and the residuals were white."""
        at = np.maximum(best, [2 * PROBE_S, -1.0, 2 * PROBE_S])
        even = np.ones(len(self.value))
        free = [j for j in range(3) if self.high[j] - self.low[j] > 1e-3]
        moves = [np.eye(3)[j] * PROBE_S for j in free]
        slopes = [(self.residual(at + move, smear, even) - self.residual(at - move, smear, even)) / (2 * PROBE_S) for move in moves]
        jacobian = np.column_stack(slopes)
        left = float((self.residual(best, smear, even) ** 2).sum()) / max(len(self.value) - 5, 1)
        gram = jacobian.T @ jacobian
        covariance = left * np.linalg.inv(gram + 1e-12 * np.trace(gram) * np.eye(len(gram)))
        spread = np.zeros(3)
        spread[free] = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        return spread

    def resampled(self, best: Floats, smear: float, rng: np.random.Generator, replicas: int) -> Floats:
        """(replicas, 3): parameters fitted again to blocks of readings drawn with replacement."""
        edges = self.drive.edge_s
        cycle = 2 * (edges[-1] - edges[0]) / max(len(edges) - 1, 1)
        length = max(cycle, 2 * (best[0] + best[1] + best[2]), 4 * self.refresh_s) if self.rises else 4 * (best[0] + self.refresh_s)
        length = min(length, (self.hi_s[-1] - self.hi_s[0]) / 10)
        block = ((self.hi_s - self.hi_s[0]) / max(length, 1e-6)).astype(np.int64)
        count = int(block[-1]) + 1
        found = []
        for _ in range(replicas):
            weight = np.bincount(rng.integers(0, count, count), minlength=count)[block].astype(np.float64)
            found.append(self.refined(best, weight, smear)[0])
        return np.array(found)
