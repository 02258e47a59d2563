"""The offset of a log's clock, found by comparing its power with a channel of the run.

Model: y(s) = a + b * mean of P over [s - x - W, s - x], s a time of the log, x how far its clock (and its own delay) is ahead of the run
clock, W its averaging time. For each x and W the least-squares a and b follow; the pair with the least sum of squares S wins. The 95 %
interval of x is where S < S_min * (1 + 3.84 / (n - 3)), n counted without the autocorrelation of the residuals
(likelihood ratio of a normal model with known form; 3.84 is the 95 % point of chi-square with one degree of freedom).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.api import BadInput
from tpb_meter_csv.reference import Floats, Reference

_LEAST_ROWS = 12
_MOST_ROWS_COARSE = 2000
_LEAST_R2 = 0.3
"""Below it the log and the channel have too little in common to align them."""
_CHI2_95 = 3.84


@dataclass(frozen=True)
class Fit:
    """The log's clock shows run time + `ahead_s`. `slope` and `intercept_w`: log power against channel power. `n`: rows used."""

    ahead_s: float
    ahead_u_s: float
    averaging_s: float
    slope: float
    intercept_w: float
    r2: float
    n: int


@dataclass(frozen=True)
class _Score:
    sse: float
    sst: float
    slope: float
    intercept: float
    n: int
    residuals: Floats

    @property
    def r2(self) -> float:
        """Share of the log's variance that the channel explains; a falling relation explains nothing."""
        return 1.0 - self.sse / self.sst if self.sst > 0 and self.slope > 0 else 0.0


def fit_clock(
    log_s: Floats, log_w: Floats, reference: Reference, *, guess_s: float, search_s: float, averaging_s: Sequence[float], step_s: float
) -> Fit:
    """Find the clock of a log whose times are `log_s` (seconds from any origin) within `guess_s` +- `search_s`.

    `averaging_s` are the averaging times to try, `step_s` is the time between rows of the log. Raises BadInput where it cannot be told:
    too few rows overlap, the load was too flat, or the best offset lies at the edge of the search.
    """
    thin = np.linspace(0, len(log_s) - 1, min(len(log_s), _MOST_ROWS_COARSE)).astype(np.int64)
    coarse_step = max(step_s / 4, 2 * search_s / 4000)
    offsets = guess_s + np.arange(-search_s, search_s + coarse_step / 2, coarse_step)
    candidates = [(_score(log_s[thin], log_w[thin], reference, float(x), w), float(x), w) for w in averaging_s for x in offsets]
    # At the ends of the search few rows overlap, and few rows are easily explained.
    enough = max(score.n for score, _, _ in candidates) / 2
    score, ahead_s, window_s = max((c for c in candidates if c[0].n >= enough), key=lambda c: c[0].r2)
    if score.n < _LEAST_ROWS:
        raise BadInput(
            f"only {score.n} rows of the log fall into the run, within {search_s:g} s of where its clock says",
            "Check meter.csv.time_zone, or raise meter.csv.search_s.",
        )
    if score.r2 < _LEAST_R2:
        raise BadInput(
            f"the log and {reference.channel} have too little in common to align them (R2 = {score.r2:.2f})",
            "The load was too flat, or they measure different machines. Use meter.csv.clock=anchors.",
        )
    if abs(ahead_s - guess_s) > search_s - 2 * coarse_step:
        raise BadInput("the best offset of the log's clock lies at the edge of the search", "Raise meter.csv.search_s.")
    windows_s = sorted({*averaging_s, *(window_s * factor for factor in (0.7, 0.85, 1.2, 1.4) if len(averaging_s) > 1)})
    return _refine(log_s, log_w, reference, ahead_s, window_s, coarse_step, windows_s)


def _refine(
    log_s: Floats, log_w: Floats, reference: Reference, ahead_s: float, window_s: float, coarse_step: float, windows_s: Sequence[float]
) -> Fit:
    """The minimum on a finer grid over one set of rows. The interval is that of the profile: at each offset the best averaging time.

    To it comes the spacing of the channel's own readings, between which a step of its power cannot be placed.
    """
    reach_s = 4 * coarse_step + (max(windows_s) - min(windows_s)) / 2 if len(windows_s) > 1 else 4 * coarse_step
    grid = ahead_s + np.linspace(-reach_s, reach_s, 321)
    longest = max(windows_s)
    inside = _inside(log_s, reference, float(grid[0]), longest) & _inside(log_s, reference, float(grid[-1]), longest)
    if int(inside.sum()) < _LEAST_ROWS:
        windows_s, longest = [window_s], window_s
        grid = ahead_s + np.linspace(-4, 4, 321) * coarse_step
        inside = _inside(log_s, reference, float(grid[0]), longest) & _inside(log_s, reference, float(grid[-1]), longest)
    rows_s, rows_w = log_s[inside], log_w[inside]
    scores = [[_score(rows_s, rows_w, reference, float(x), w) for w in windows_s] for x in grid]
    best = [min(range(len(windows_s)), key=lambda place, row=row: row[place].sse) for row in scores]  # type: ignore[misc]
    sse = np.array([row[place].sse for row, place in zip(scores, best, strict=True)])
    place = int(np.argmin(sse))
    found = scores[place][best[place]]
    n = _effective_rows(found.residuals)
    likely = grid[sse <= found.sse * (1 + _CHI2_95 / max(n - 3, 1.0)) + 1e-12 * found.sst]
    half_s = max(float(likely[-1] - likely[0]) / 2, float(grid[1] - grid[0]))
    spacing_s = float(np.median(np.diff(reference.t_s)))
    u_s = float(np.hypot(half_s / 1.96, spacing_s / np.sqrt(12)))
    return Fit(float(grid[place]), u_s, windows_s[best[place]], found.slope, found.intercept, found.r2, found.n)


def _inside(log_s: Floats, reference: Reference, ahead_s: float, window_s: float) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = (log_s - ahead_s - window_s >= reference.t_s[0]) & (log_s - ahead_s <= reference.t_s[-1])
    return inside


def _score(log_s: Floats, log_w: Floats, reference: Reference, ahead_s: float, window_s: float) -> _Score:
    inside = _inside(log_s, reference, ahead_s, window_s)
    n = int(inside.sum())
    if n < _LEAST_ROWS:
        return _Score(0.0, 0.0, 0.0, 0.0, n, np.empty(0))
    end_s = log_s[inside] - ahead_s
    x, y = reference.mean_w(end_s - window_s, end_s), log_w[inside]
    x_mean, y_mean = float(x.mean()), float(y.mean())
    sxx, sxy = float(((x - x_mean) ** 2).sum()), float(((x - x_mean) * (y - y_mean)).sum())
    slope = sxy / sxx if sxx > 0 else 0.0
    residuals = y - y_mean - slope * (x - x_mean)
    return _Score(float((residuals**2).sum()), float(((y - y_mean) ** 2).sum()), slope, y_mean - slope * x_mean, n, residuals)


def _effective_rows(residuals: Floats) -> float:
    """Rows that tell something new: n (1 - r) / (1 + r), r the lag-one autocorrelation of the residuals (at least 0)."""
    n = len(residuals)
    power = float((residuals**2).sum())
    r = max(float((residuals[1:] * residuals[:-1]).sum()) / power, 0.0) if n > 2 and power > 0 else 0.0
    return n * (1 - min(r, 0.99)) / (1 + min(r, 0.99))
