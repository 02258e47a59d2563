"""The grid of refreshes: a sensor that refreshes evenly is seen late by varying amounts, and a straight line through what was seen is even.

Reads tell only that a refresh happened since the read before. Over many refreshes these brackets pin an even grid down far better than
each does alone. Where what was seen does not fit such a grid, nothing is changed.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CHUNK = 64
FITS = 0.65
"""Largest distance from the line, in widths of the bracket, at which the grid is believed: half of it, and a little unevenness."""
LEFT_OVER = 0.15
"""Share of the bracket that stays uncertain from one refresh to the next."""
TIE = 0.49
UNEVEN = 0.04
"""Full width of how unevenly sensors refresh, as a share of the period (A100: 100 to 102 ms in nine of ten)."""
LEAST_FLIPS = 3
LONGEST_TURN = 0.25
"""Longest stretch between reads that saw nothing new, as a share of all reads: longer ones are no matter of chance."""
DOUBLE = 1.5
"""Least increment that counts as two refreshes, in those beside it."""


def _lines(cycle: Floats, t: Floats) -> tuple[Floats, Floats]:
    """Slope of each chunk's straight line over its cycles, and the line."""
    centred = cycle - cycle.mean(axis=1, keepdims=True)
    slope = (centred * t).sum(axis=1) / np.maximum((centred**2).sum(axis=1), 1e-300)
    return slope, t.mean(axis=1, keepdims=True) + slope[:, None] * centred


def even(middle_s: Floats, bracket_s: Floats, refresh_s: float) -> tuple[Floats, Floats]:
    """Stamps moved onto their grid, and the width of what stays uncertain of each.

    `middle_s`: middles of the brackets, ascending; `bracket_s`: their full widths; `refresh_s`: the nominal period.
    """
    count = len(middle_s) // CHUNK
    if count == 0 or refresh_s <= 0:
        return middle_s, bracket_s
    size = count * CHUNK
    cycle = np.concatenate([[0.0], np.cumsum(np.maximum(np.floor(np.diff(middle_s) / refresh_s + TIE), 1.0))])
    t = middle_s[:size].reshape(count, CHUNK)
    width = bracket_s[:size].reshape(count, CHUNK)
    counted = cycle[:size].reshape(count, CHUNK)
    slope, _ = _lines(counted, t)
    period = np.where(np.abs(slope / refresh_s - 1) < 0.2, slope, refresh_s)[:, None]
    counted = np.round(counted.mean(axis=1, keepdims=True) + (t - t.mean(axis=1, keepdims=True)) / period)
    slope, line = _lines(counted, t)
    usual = float(np.median(bracket_s))
    apart = np.where(width <= 1.5 * usual, t - line, 0.0)  # the first read of all has a bracket as wide as the period
    lopsided = np.abs(apart).max(axis=1, keepdims=True) > FITS * usual
    line = line + np.where(lopsided, (apart.max(axis=1, keepdims=True) + apart.min(axis=1, keepdims=True)) / 2, 0.0)
    near = np.abs(slope / refresh_s - 1) < 0.2
    believed = near & ((np.abs(t - line) / np.maximum(width, 1e-12)).max(axis=1) <= FITS)
    stamps, widths = middle_s.copy(), bracket_s.copy()
    stamps[:size] = np.where(believed[:, None], np.clip(line, t - width / 2, t + width / 2), t).ravel()
    left_over = np.minimum(np.maximum(LEFT_OVER * width, UNEVEN * refresh_s), width)
    widths[:size] = np.where(believed[:, None], left_over, width).ravel()
    if size < len(middle_s):  # the rest is laid on the line of the last full chunk's worth
        left = len(middle_s) - size
        tail_stamps, tail_widths = even(middle_s[-CHUNK:], bracket_s[-CHUNK:], refresh_s)
        stamps[-left:], widths[-left:] = tail_stamps[-left:], tail_widths[-left:]
    return np.maximum.accumulate(stamps), widths


def in_step(read_s: Floats, refresh_s: float) -> Floats | None:
    """Where reads come evenly and one a refresh from first to last: the even line through them, else None.

    If each saw something new, neither overtook the other, so how late the reads were hardly changed: it is one unknown shift, and each
    refresh lies on the line as surely as the sensor refreshes evenly (`UNEVEN`).
    """
    count = len(read_s) // CHUNK
    if count == 0 or refresh_s <= 0 or np.abs(np.diff(read_s) / refresh_s - 1).max() > TIE:
        return None
    if abs((read_s[-1] - read_s[0]) / refresh_s - (len(read_s) - 1)) > 1:
        return None
    stamps = np.empty_like(read_s)
    for rows in np.array_split(np.arange(len(read_s)), count):
        _, line = _lines(rows[None, :].astype(np.float64), read_s[None, rows])
        stamps[rows] = line[0]
    return np.asarray(np.maximum.accumulate(stamps))


def in_turns(read_s: Floats, energy_j: Floats, refresh_s: float) -> Floats | None:
    """Where reads come in step with refreshes and at the same moments, so that some see theirs and some just miss it: when what each read
    shows was refreshed, on the even line through the reads. None where that is not so.

    A read that saw nothing new missed its refresh; from then on each shows the one before, until one sees two refreshes at once: the one
    whose increment stands out most among its neighbours before the next that saw nothing. At either end there need not be one.
    """
    line = in_step(read_s, refresh_s)
    step = np.diff(energy_j)
    still = np.flatnonzero(step <= 0) + 1
    bounds = np.concatenate([[0], still, [len(read_s)]])
    if line is None or len(still) < LEAST_FLIPS or np.diff(bounds).max() > LONGEST_TURN * len(read_s) or np.diff(still).min() < 2:
        return None
    around = np.maximum(np.concatenate([[0.0], step[:-1]]), np.concatenate([step[1:], [0.0]]))
    stands_out = step / np.maximum(around, 1e-3 * step.max())
    late = np.zeros(len(read_s), np.int64)
    for k, (first, last) in enumerate(pairwise(bounds)):
        inner = stands_out[first : last - 1]
        double = first + 1 + int(np.argmax(inner)) if len(inner) else last
        if k in (0, len(bounds) - 2) and len(inner) and inner.max() < DOUBLE:
            double = first if k == 0 else last
        late[first:double] = 1
    return np.asarray(line - late * (line[-1] - line[0]) / (len(line) - 1))
