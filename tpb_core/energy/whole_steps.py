"""Fluctuations that belong to whole steps: readings that share a step share its error, and what one gets too much another lacks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tpb_core.energy.columns import Columns
from tpb_core.energy.observations import Observations

Floats = npt.NDArray[np.float64]

LEAST, MOST = 0.1, 3.0
"""Limits of a factor: steps that hardly differ in power say little of each other's errors."""


def whole_steps(
    columns: Columns, observations: Observations, rows: slice, weights: Floats, ideal: Floats, powers_w: Floats, shift_s: float
) -> Floats:
    """(q): from the standard deviation of energies that readings cut by time suggest to that of whole steps: step s of energy E_s draws
    the share x_s too much, independently of others and with equal variance.

    It puts x_s E_s (mean of w over its time) into an energy with weights w where x_s E_s belongs if the step is of its phase, else nothing.
    Its readings, each divided among phases in proportion to time, make that x_s E_s (mean of w - ideal over its time). A factor is the
    ratio of both, summed in squares over steps.
    `weights` and `ideal` (n x q) are joules for a watt of each increment; q are the total and the columns of `powers_w` that begin with
    "in"; the total's factor is 1, because no reading divides it. Increments lie `shift_s` later than stated.
    """
    stamps, joules = _stamps(observations, rows, shift_s), _step_joules(columns, powers_w)
    length = np.diff(columns.points)
    busy = (columns.inside & (columns.state != 0))[:, None]
    mean_weight = _spread(stamps, weights[:, 1:], columns.points) / length[:, None]
    mean_missing = _spread(stamps, (weights - ideal)[:, 1:], columns.points) / length[:, None]
    states = [state for side, state in columns.names if side == "in"]
    own = (columns.state[:, None] == np.array(states)[None, :]).astype(np.float64)
    whole = np.sqrt(np.sum(np.where(busy, (mean_weight - own) * joules[:, None], 0.0) ** 2, axis=0))
    cut = np.sqrt(np.sum(np.where(busy, mean_missing * joules[:, None], 0.0) ** 2, axis=0))
    factors = np.clip(np.where(cut > 0, whole / np.maximum(cut, 1e-300), 1.0), LEAST, MOST)
    return np.concatenate([[1.0], factors])


def neighbours(columns: Columns, observations: Observations, rows: slice, powers_w: Floats, shift_s: float) -> float:
    """Correlation of the energies of neighbouring increments that steps across their common edge cause.

    Of step s of energy E_s, the part e_sk in increment k varies with the step: sum of e_sk e_s(k+1) over sum of e_sk^2.
    """
    stamps, joules = _stamps(observations, rows, shift_s), _step_joules(columns, powers_w)
    points = np.union1d(stamps, columns.points)
    middle, width = (points[1:] + points[:-1]) / 2, np.diff(points)
    piece = np.clip(np.searchsorted(columns.points, middle) - 1, 0, len(joules) - 1)
    reading = np.searchsorted(stamps, middle) - 1
    counts = (columns.inside & (columns.state != 0))[piece] & (reading >= 0) & (reading < len(stamps) - 1)
    part = np.where(counts, joules[piece] * width / np.diff(columns.points)[piece], 0.0)
    across = (piece[1:] == piece[:-1]) & (reading[1:] == reading[:-1] + 1)
    alone = float(part @ part)
    return float(np.sum(part[1:] * part[:-1] * across)) / alone if alone > 0 else 0.0


def _stamps(observations: Observations, rows: slice, shift_s: float) -> Floats:
    return np.concatenate([observations.lo_s[rows][:1], observations.hi_s[rows]]) - shift_s


def _step_joules(columns: Columns, powers_w: Floats) -> Floats:
    return np.maximum(np.diff(columns.cumulative, axis=0) @ powers_w, 0.0)


def _spread(stamps: Floats, weights: Floats, points: Floats) -> Floats:
    """(pieces x q): what of weights spread evenly between neighbouring stamps falls between neighbouring points."""
    until = np.cumsum(weights, axis=0)
    upto = [np.interp(points, stamps, np.concatenate([[0.0], column])) for column in until.T]
    return np.diff(np.column_stack(upto), axis=0)
