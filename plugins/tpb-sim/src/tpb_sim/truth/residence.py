"""Idle time divided among the requests that were in the server meanwhile: equally among all that were resident at each instant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_sim.trace import PowerTrace

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stays:
    """When each request was in the server, in ns of the run clock: from its submission to its end."""

    request: npt.NDArray[np.int64]
    from_ns: Times
    to_ns: Times


def idle_intervals(busy_t0_ns: Times, busy_t1_ns: Times, t0_ns: int, t1_ns: int) -> tuple[Times, Times]:
    """Where nothing runs in [t0_ns, t1_ns): starts and ends. Busy intervals come in order and do not overlap."""
    starts = np.concatenate([[t0_ns], np.clip(busy_t1_ns, t0_ns, t1_ns)])
    ends = np.concatenate([np.clip(busy_t0_ns, t0_ns, t1_ns), [t1_ns]])
    keep = ends > starts
    return starts[keep].astype(np.int64), ends[keep].astype(np.int64)


def share_idle(trace: PowerTrace, starts_ns: Times, ends_ns: Times, stays: Stays) -> tuple[Floats, Floats, float, float]:
    """Idle energy in J and idle time in s of each stay, and those when nobody was resident."""
    size = len(stays.request)
    if not len(starts_ns):
        return np.zeros(size), np.zeros(size), 0.0, 0.0
    inside = [np.clip(edges, starts_ns[0], ends_ns[-1]) for edges in (stays.from_ns, stays.to_ns)]
    grid = np.unique(np.concatenate([starts_ns, ends_ns, *inside]))
    left = grid[:-1]
    place = np.searchsorted(starts_ns, left, side="right") - 1
    idle = left < ends_ns[place]
    joules = np.diff(trace.energy_j(grid)) * idle
    seconds = np.diff(grid) / 1e9 * idle
    present = np.searchsorted(np.sort(inside[0]), left, side="right") - np.searchsorted(np.sort(inside[1]), left, side="right")
    alone = present == 0
    from_cell, to_cell = np.searchsorted(grid, inside[0]), np.searchsorted(grid, inside[1])

    def shared(amount: Floats) -> Floats:
        each = np.concatenate([[0.0], np.cumsum(np.where(alone, 0.0, amount / np.maximum(present, 1)))])
        taken: Floats = each[to_cell] - each[from_cell]
        return taken

    return shared(joules), shared(seconds), float(joules[alone].sum()), float(seconds[alone].sum())
