"""Covariance of linear functionals of a series: moving blocks, uncertain stamps, and the split into independent signed sources."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.energy.long_run import left_by_fit
from tpb_core.energy.observations import Observations
from tpb_core.energy.refresh_grid import CHUNK
from tpb_core.energy.window_edges import Division, readings_divided

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LARGEST_SHARE = 8
"""A block is never longer than this fraction (1/8) of the series."""
NEGLIGIBLE = 1e-9
LEAST_FOR_STAMPS = 12
LEAST_LEFT = 0.2
MARGIN = 0.25
"""Standard deviations of a lag-one autocovariance that are added to it: few increments do not rule small jitter out."""
WANDER = 0.015
"""How far the line through a chunk of refreshes is off, as a share of the bracket (found by simulation for brackets of 20 to 60 ms)."""
LEAST_STAMP_SHARE = 0.15
LEAST_EVEN_SHARE = 0.8
"""Least share of the stamps' stated uncertainty that is kept: nearly all of it where they were laid on an even grid already."""


@dataclass(frozen=True)
class Errors:
    """Covariances by term (J^2), and degrees of freedom by term."""

    covariances: dict[str, Floats]
    dof: dict[str, float | None]


@dataclass(frozen=True)
class Stamps:
    """Standard uncertainty of the n + 1 stamps of increments, seconds, and as much of it as the residual shows."""

    u_s: Floats
    shown_s: float


@dataclass(frozen=True)
class Increments:
    """Of increments: how uncertain their stamps are, the power at each of these (n + 1), how those at the window's edges were divided, and
    by what `factors` (q) fluctuations of whole steps err more than readings cut by time would.
    """

    stamps: Stamps
    stamp_w: Floats
    division: Division
    factors: Floats


def error_covariances(
    observations: Observations, rows: slice, residual: Floats, weights: Floats, ideal: Floats, unknowns: int,
    edges_s: tuple[float, float], noise_w: float | None, increments: Increments | None,
) -> Errors:  # fmt: skip
    """What sampling, reading noise and uncertain stamps do to energies that are `weights` (n x q, seconds) times the readings.

    `ideal` (n x q) are the seconds of each cell that truly belong to each energy. Power that the model does not explain enters an energy
    with weights where the truth has ideal, so it errs by the difference, as far as readings cover the time; the rest is a sample.
    How increments at the window's edges were divided is no such difference, and has a term of its own. `noise_w` of single readings where
    it was seen at rest: what scatters more than that under load is power that readings cover.
    """
    good = observations.good[rows]
    usual = float(np.median(observations.cell_hi_s[rows] - observations.cell_lo_s[rows]))
    block = block_length(residual, int(np.ceil(observations.memory_s / max(usual, 1e-9))))
    share = observations.coverage
    sampled = block_covariance(weights * residual[:, None], block) * (1 - share)
    apart = weights - ideal
    if increments is not None:
        apart[:, 0] -= increments.division.taken_s - ideal[:, 0]
    covered = block_covariance(apart * residual[:, None], block) * share
    covariances: dict[str, Floats] = {}
    seconds = max(float(ideal[:, 0].sum()), 1e-9)
    left = left_by_fit(seconds / max(observations.averaging_s, observations.refresh_s, 1e-9), unknowns)
    edge_dof: float | None = None
    divided = np.zeros_like(sampled)
    if increments is not None:
        around, stamps = np.maximum(increments.stamp_w, 0.0), increments.stamps
        length = observations.hi_s[rows] - observations.lo_s[rows]
        wander = WANDER * observations.lateness_s if observations.told else 0.0
        covariances["edges"] = stamp_covariance(weights, length, around, stamps.u_s, wander)
        shown = share * stamp_covariance(apart, length, around, np.full_like(stamps.u_s, stamps.shown_s))
        covered = _without(covered, shown) * np.outer(increments.factors, increments.factors)
        divided[0, 0], edge_dof = increments.division.variance_j2, increments.division.dof
    else:
        scatter = white_noise(residual, good)
        sigma = max(scatter if noise_w is None else min(scatter, noise_w), observations.quantum_w / float(np.sqrt(12)))
        covariances["noise"] = share * sigma**2 * (weights[good].T @ weights[good])
        divided[0, 0] = readings_divided(observations, rows, residual, edges_s)
    covariances["sampling"] = (sampled + covered) / left
    covariances["window_edges"] = divided
    inside = int(np.count_nonzero(ideal[:, 0]))
    dof = {"sampling": max(min(len(residual) / block - unknowns, inside - 1), 2.0), "window_edges": edge_dof}
    return Errors(covariances, dof)


def block_length(residual: Floats, at_least: int) -> int:
    """Observations a block: twice the lag at which the autocorrelation of `residual` dies out, at least `at_least`, at most n/8."""
    n = len(residual)
    longest = max(n // LARGEST_SHARE, 1)
    if n < 16:
        return min(max(at_least, 1), longest)
    sample = residual[: 1 << 16] - residual[: 1 << 16].mean()
    size = 1 << int(np.ceil(np.log2(2 * len(sample))))
    spectrum = np.fft.rfft(sample, size)
    correlation = np.fft.irfft(spectrum * np.conj(spectrum), size)[: len(sample) // 4]
    if correlation[0] <= 0:
        return min(max(at_least, 1), longest)
    quiet = np.flatnonzero(correlation < 2.0 / np.sqrt(len(sample)) * correlation[0])
    dies = int(quiet[0]) if len(quiet) else len(correlation)
    return min(max(2 * dies, at_least, 1), longest)


def block_covariance(scores: Floats, length: int) -> Floats:
    """Covariance (q x q) of the sums of `scores` (n x q), whose rows are correlated over less than `length`.

    The moving-block bootstrap's variance in closed form: the mean outer product of all overlapping block sums over the block length
    (a Bartlett kernel). Blocks run past both ends over zeros, so that rows at the ends count as much as the others.
    """
    n, q = scores.shape
    if n == 0:
        return np.zeros((q, q))
    padded = np.zeros((n + 2 * length - 1, q))
    np.cumsum(scores, axis=0, out=padded[length : length + n])
    padded[length + n :] = padded[length + n - 1]
    sums = padded[length:] - padded[:-length]
    return np.asarray(sums.T @ sums / length)


def white_noise(residual: Floats, good: Bools) -> float:
    """Standard deviation of reading noise, watts: from the median of second differences, which slow and rare changes of power hardly enter.

    Fast fluctuations of the power itself cannot be told from noise and count as such.
    """
    return noise_of(second_differences(residual, good)) if len(residual) >= 5 else 0.0


def second_differences(power: Floats, good: Bools) -> Floats:
    """x[k+2] - 2 x[k+1] + x[k] of readings of which all three are good."""
    usable = good[2:] & good[1:-1] & good[:-2]
    return np.asarray((power[2:] - 2 * power[1:-1] + power[:-2])[usable])


def noise_of(second: Floats) -> float:
    """Standard deviation of the readings that second differences were made of, if they are independent; 0 of none."""
    return float(np.median(np.abs(second)) / 0.6745 / np.sqrt(6)) if len(second) else 0.0


def increment_stamps(observations: Observations, rows: slice, residual: Floats, power: Floats, neighbours: float) -> Stamps:
    """`stamp_noise` of increments, of whose n + 1 stamps `power` is the watts."""
    known = np.concatenate([observations.jitter_lo_s[rows][:1], observations.jitter_hi_s[rows]]) / np.sqrt(12)
    least = LEAST_EVEN_SHARE if observations.told else LEAST_STAMP_SHARE
    return stamp_noise(residual, observations.hi_s[rows] - observations.lo_s[rows], power, known, least, neighbours)


def stamp_noise(residual: Floats, length_s: Floats, power: Floats, stamp_u_s: Floats, least: float, neighbours: float) -> Stamps:
    """How uncertain each edge of increments is, from how neighbouring increments make up for each other.

    An edge moved by e takes P·e from one increment and gives it to the next: the variance of the energies left over is v + 2(P·u)², their
    lag-one autocovariance r·v - (P·u)², where v is of steps that fluctuate and r (`neighbours`) of those across an edge. At most what
    is known of the stamps beforehand (`stamp_u_s`), which also stands where there are few increments.
    """
    if len(residual) < LEAST_FOR_STAMPS:
        return Stamps(stamp_u_s, 0.0)
    left_over = residual * length_s
    variance = float(np.mean(left_over**2))
    together = (float(np.mean(left_over[1:] * left_over[:-1])) - neighbours * variance) / (1 + 2 * neighbours)
    mean_w = max(float(np.mean(np.abs(power))), 1e-12)
    found = float(np.sqrt(max(-together, 0.0) + MARGIN * variance / float(np.sqrt(len(residual))))) / mean_w
    shown = float(np.sqrt(max(-together, 0.0))) / mean_w
    return Stamps(np.clip(found, least * stamp_u_s, stamp_u_s), min(shown, float(np.median(stamp_u_s))))


def stamp_covariance(weights: Floats, length_s: Floats, power_w: Floats, stamp_u_s: Floats, common_u_s: float = 0.0) -> Floats:
    """Covariance that uncertain edges of increments cause.

    An edge moved by e moves P·e joules from one increment to the next, so its effect is P·e·(w_k/L_k - w_(k+1)/L_(k+1)).
    `weights` (n x q) in seconds, `stamp_u_s` and `power_w` for the n + 1 edges; `common_u_s` moves a chunk of them together.
    """
    ratio = weights / length_s[:, None]
    jump = np.diff(ratio, axis=0, prepend=0.0, append=0.0) * power_w[:, None]
    scores = jump * stamp_u_s[:, None]
    covariance = scores.T @ scores
    if common_u_s > 0:
        together = np.add.reduceat(jump, np.arange(0, len(jump), CHUNK), axis=0) * common_u_s
        covariance += together.T @ together
    return np.asarray(covariance)


def _without(covariance: Floats, counted: Floats) -> Floats:
    """A covariance less what is counted elsewhere, never negative, and never less than a share of it."""
    values, vectors = np.linalg.eigh(covariance - counted)
    left = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return np.asarray(LEAST_LEFT * covariance + (1 - LEAST_LEFT) * left)


def independent_sources(covariance: Floats) -> list[Floats]:
    """Signed vectors v_k with covariance = sum of v_k v_k^T, largest first; negligible ones are left out."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    largest = float(values[-1]) if len(values) else 0.0
    if largest <= 0:
        return []
    order = np.argsort(values)[::-1]
    return [vectors[:, k] * np.sqrt(values[k]) for k in order if values[k] > NEGLIGIBLE * largest]
