"""The grid of refreshes: a sensor that refreshes evenly is seen late by varying amounts, and a straight line through what was seen is even.

Reads tell only that a refresh happened since the read before. Over many refreshes these brackets pin an even grid down far better than
each does alone. Where what was seen does not fit such a grid, nothing is changed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CHUNK = 64
FITS = 1.15
"""Largest scatter around the line, relative to that of stamps uniform in their brackets, at which the grid is believed."""
LEFT_OVER = 0.25
"""Share of the bracket that stays uncertain from one refresh to the next."""


def even(middle_s: Floats, bracket_s: Floats, refresh_s: float) -> tuple[Floats, Floats]:
    """Stamps moved onto their grid, and the width of what stays uncertain of each.

    `middle_s`: middles of the brackets, ascending; `bracket_s`: their full widths; `refresh_s`: the nominal period.
    """
    count = len(middle_s) // CHUNK
    if count == 0 or refresh_s <= 0:
        return middle_s, bracket_s
    size = count * CHUNK
    cycle = np.concatenate([[0.0], np.cumsum(np.maximum(np.round(np.diff(middle_s) / refresh_s), 1.0))])
    n = cycle[:size].reshape(count, CHUNK)
    t = middle_s[:size].reshape(count, CHUNK)
    width = bracket_s[:size].reshape(count, CHUNK)
    centred = n - n.mean(axis=1, keepdims=True)
    slope = (centred * t).sum(axis=1) / np.maximum((centred**2).sum(axis=1), 1e-300)
    line = t.mean(axis=1, keepdims=True) + slope[:, None] * centred
    scatter = np.sqrt(np.mean((t - line) ** 2, axis=1))
    expected = width.mean(axis=1) / np.sqrt(12)
    near = np.abs(slope / refresh_s - 1) < 0.2
    inside = np.abs(t - line).max(axis=1) <= 0.75 * width.max(axis=1)
    believed = near & inside & (scatter <= FITS * expected)
    stamps, widths = middle_s.copy(), bracket_s.copy()
    stamps[:size] = np.where(believed[:, None], np.clip(line, t - width / 2, t + width / 2), t).ravel()
    widths[:size] = np.where(believed[:, None], LEFT_OVER * width, width).ravel()
    return np.maximum.accumulate(stamps), widths
