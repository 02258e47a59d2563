"""Energy counters: from raw values to an ever-growing energy, with wraps told from resets, and the instants at which it changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

PLAUSIBLE_FACTOR = 3.0
"""Without a stated `max_power_w`, a fall counts as a wrap up to this multiple of the highest power seen between other readings."""


@dataclass(frozen=True)
class Unwrapped:
    """A counter made monotonic.

    `energy_j` (n) starts at 0. `hole[i]` (n-1) says that the energy between reads i and i+1 is not known (a reset, or more than one
    wrap possible); the increment there is taken as 0. `wraps`, `resets`, `ambiguous` are indices of the later read.
    """

    energy_j: Floats
    hole: npt.NDArray[np.bool_]
    wraps: npt.NDArray[np.int64]
    resets: npt.NDArray[np.int64]
    ambiguous: npt.NDArray[np.int64]


def unwrap(t_s: Floats, value_j: Floats, *, wrap_j: float | None, max_power_w: float | None) -> Unwrapped:
    """Undo wraps of a counter read at `t_s` (seconds, ascending).

    `wrap_j` is the counter's range (0: never wraps, None: not known), `max_power_w` the most that it can plausibly count in a second.
    A fall is one wrap only where the implied power stays below `max_power_w`; otherwise a reset. A rise to which a further whole
    wrap could be added within `max_power_w` is ambiguous. Both are holes. A counter that went unread but kept counting has none.
    """
    if len(value_j) == 0:
        nothing = np.zeros(0, np.int64)
        return Unwrapped(np.zeros(0), np.zeros(0, np.bool_), nothing, nothing, nothing)
    step = np.diff(value_j)
    gap_s = np.maximum(np.diff(t_s), 1e-9)
    falls = step < 0
    can_wrap = wrap_j is not None and wrap_j > 0
    limit_w = max_power_w if max_power_w else _plausible_power(step, gap_s, falls)
    wrapped = np.zeros(len(step), np.bool_)
    ambiguous = np.zeros(len(step), np.bool_)
    if can_wrap and (falls.any() or max_power_w):
        assert wrap_j is not None
        once = np.where(falls, step + wrap_j, step)
        wrapped = falls & (once >= 0) & (once / _since_last_change(t_s, step) <= limit_w)
        ambiguous = (~falls | wrapped) & ((once + wrap_j) / gap_s <= limit_w) if max_power_w else ambiguous
        step = np.where(wrapped, once, step)
    resets = falls & ~wrapped
    hole = resets | ambiguous
    energy = np.concatenate([[0.0], np.cumsum(np.where(hole, 0.0, step))])
    return Unwrapped(energy, hole, _later(wrapped & ~ambiguous), _later(resets), _later(ambiguous))


def change_edges(t_s: Floats, energy_j: Floats, hole: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Indices of the reads at which the counter had changed since the read before, and of ends of holes; the first read is one.

    A hole begins at the last change before it: nobody knows how old an unchanged value is.
    """
    if len(energy_j) == 0:
        return np.zeros(0, np.int64)
    changed = np.empty(len(energy_j), np.bool_)
    changed[0] = True
    changed[1:] = (np.diff(energy_j) > 0) | hole
    return np.flatnonzero(changed)


def _plausible_power(step: Floats, gap_s: Floats, falls: npt.NDArray[np.bool_]) -> float:
    rising = ~falls & (step > 0)
    return PLAUSIBLE_FACTOR * float(np.max(step[rising] / gap_s[rising])) if rising.any() else 0.0


def _since_last_change(t_s: Floats, step: Floats) -> Floats:
    """For each increment, seconds in which it may have been counted: since the read before the last change.

    A counter that refreshes more slowly than it is read shows several reads' energy at once.
    """
    index = np.arange(len(step))
    changed = np.maximum.accumulate(np.where(step != 0, index, 0))
    before = np.concatenate([[0], changed[:-1]])
    return np.asarray(np.maximum(t_s[1:] - t_s[before], 1e-9))


def _later(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return np.flatnonzero(mask) + 1
