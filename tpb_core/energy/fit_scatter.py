"""What the regression of a window leaves of the readings, where no cost model was needed: scatter of steps, and how sure its powers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tpb_core.energy.blocks import blocks_of
from tpb_core.energy.covariance import block_length
from tpb_core.energy.domain_energy import DomainEnergy
from tpb_core.energy.observations import Observations
from tpb_core.energy.regression import MOST_INCREMENTS, Fit
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.step_scatter import Left, StepScatter, reading_noise, step_scatter, time_together_s
from tpb_core.energy.step_work import rows_on
from tpb_core.energy.steps_said import Steps
from tpb_core.energy.timeline import State

if TYPE_CHECKING:
    from tpb_core.api import Window

Floats = npt.NDArray[np.float64]

LEAST_INSIDE = 8
"""With fewer readings wholly inside a window, those across its edges are taken as well."""


def left_by_fits(energy: RunEnergy, domain: str, window: Window, known: DomainEnergy) -> list[Left]:
    """What each fit of a domain leaves of the readings inside the window."""
    t0_s, t1_s = energy.bounds_s(window)
    parts = []
    for channel, fit in zip(energy.tree.domains[domain].givers, known.fits, strict=True):
        observations = energy.meter(channel).observations
        inside = np.flatnonzero((observations.lo_s >= t0_s) & (observations.hi_s <= t1_s))
        rows = slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) >= LEAST_INSIDE else observations.between(t0_s, t1_s)
        noise_w = reading_noise(observations, energy.rest_spans_s())
        if len(inside) > MOST_INCREMENTS:
            observations = observations.merged(rows, MOST_INCREMENTS)
            rows = slice(0, len(observations))
        explained_w = _design(fit, observations, rows) @ fit.powers_w
        left_w = observations.mean_w[rows] - explained_w
        parts.append(Left(observations, rows, left_w, fit.alignment.shift_s, noise_w, len(fit.powers_w)))
    return parts


def scatter_of_fits(energy: RunEnergy, domain: str, window: Window, known: DomainEnergy, left: list[Left]) -> StepScatter | None:
    """Scatter of a domain's steps about its fits; None without them.

    Parts of a domain (two power supplies, say) see the same steps: their standard deviations add, each by its part of the energy.
    """
    activity, bounds_s = energy.activity, energy.bounds_s(window)
    rows = rows_on(activity, energy.instances(domain))
    rows = rows[(activity.t1_s[rows] > bounds_s[0]) & (activity.t0_s[rows] < bounds_s[1])]
    rows = rows[np.argsort(activity.t0_s[rows], kind="stable")]
    t0_s, t1_s = (np.clip(edge[rows], *bounds_s) for edge in (activity.t0_s, activity.t1_s))
    together_s = time_together_s(activity, rows)
    parts, joules = [], []
    for part, fit in zip(left, known.fits, strict=True):
        idle_w = dict(zip(fit.columns.names, fit.powers_w, strict=True)).get(("in", int(State.IDLE)), 0.0)
        said = Steps(t0_s, t1_s, np.maximum(fit.joules_of(t0_s, t1_s), 0.0), float(idle_w))
        parts.append(step_scatter(part, said, together_s))
        joules.append(float(said.joules.sum()))
    whole = sum(joules)
    if whole <= 0:
        return None
    weights = [part_j / whole for part_j in joules]
    deviation = sum(weight * part.relative2**0.5 for weight, part in zip(weights, parts, strict=True))
    drift = sum(weight * part.drift2**0.5 for weight, part in zip(weights, parts, strict=True))
    return StepScatter(deviation**2, min(part.dof for part in parts), drift**2)


def moved_powers(left: Left, fit: Fit) -> Floats:
    """Powers of a fit's columns, each row off by one standard uncertainty in another direction: a jackknife over blocks."""
    observations, rows = left.observations, left.rows
    usual_s = float(np.median(left.cell_s)) if left.readings else 1.0
    block = block_length(left.unexplained_w, int(np.ceil(observations.memory_s / max(usual_s, 1e-9))))
    if left.readings < 2 * max(block, left.unknowns):
        return np.zeros((0, left.unknowns))
    length_s = (observations.hi_s - observations.lo_s)[rows]
    trust = np.where(left.good, length_s / float(np.median(length_s)) if observations.increments else 1.0, 0.0)
    blocks = blocks_of(_design(fit, observations, rows), left.unexplained_w, trust, block)
    values, vectors = np.linalg.eigh(blocks.covariance())
    return np.asarray(fit.powers_w + (vectors * np.sqrt(np.maximum(values, 0.0))).T)


def _design(fit: Fit, observations: Observations, rows: slice) -> Floats:
    return fit.columns.filtered(observations, rows, fit.alignment.shift_s, 0.0, fit.alignment.smear)
