"""Steady stretches of a run, and what two channels read in each: the levels from which one is calibrated against the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tpb_core.api import Channel, PreconditionFailed
from tpb_core.energy.calibration import Level
from tpb_core.energy.observations import Observations
from tpb_core.energy.switched import load_slices, raw_observations

if TYPE_CHECKING:
    from tpb_core.api import RunView

SETTLING = 1.5
"""Averaging times, delays and refreshes that are left out after each change of level."""
LEAST_SETTLING_S = 0.5
LONG_ENOUGH = 2.0
"""The same, of what must be left of a level."""
BLOCK_S = 5.0
"""Runs without load steps are cut into blocks of at least this length."""
PARTS = 6
"""Pieces of a level from whose scatter the uncertainty of its mean is taken."""
UNSTEADY = 0.05
"""A block whose halves differ by more than this share of the run's range is no steady level."""

Span = tuple[float, float]


def steady_levels(run: RunView, channel: Channel, reference: Channel) -> list[Level]:
    """The levels of a run: its load steps where it has them, else blocks in which both channels are steady.

    The channel is taken raw, the reference corrected by its own gain and offset. Raises PreconditionFailed without readings.
    """
    slices = load_slices(run)
    if not slices and not run.windows:
        raise PreconditionFailed(f"run {run.run_id} has no windows to look at", "Give a complete run.")
    origin_ns = slices[0].t0_ns if slices else min(window.t0_ns for window in run.windows)
    both = [raw_observations(run, one, origin_ns, placed=True) for one in (channel, reference)]
    for one, seen in zip((channel, reference), both, strict=True):
        if seen is None:
            raise PreconditionFailed(f"channel {one.channel} has no readings in run {run.run_id}", "Choose another channel.")
    mine, theirs = (seen for seen in both if seen is not None)
    lag_s = max(_lag_s(one, seen) for one, seen in ((channel, mine), (reference, theirs)))
    if slices:
        whole: Sequence[Span] = [((part.t0_ns - origin_ns) / 1e9, (part.t1_ns - origin_ns) / 1e9) for part in slices]
    else:
        whole = _steady_blocks(mine, theirs, max(BLOCK_S, 5 * lag_s))
    spans = [(lo + max(SETTLING * lag_s, LEAST_SETTLING_S), hi - lag_s) for lo, hi in whole]
    levels = []
    for span in spans:
        if span[1] - span[0] < max(LONG_ENOUGH * lag_s, LEAST_SETTLING_S):
            continue
        x, ux = _mean(mine, span, channel.resolution)
        y, uy = _mean(theirs, span, reference.resolution)
        levels.append(Level(x, ux, reference.gain * y + reference.offset_w, abs(reference.gain) * uy))
    return levels


def _lag_s(channel: Channel, seen: Observations) -> float:
    return seen.refresh_s + ((channel.averaging_ms or 0.0) + (channel.delay_ms or 0.0)) / 1e3


def _mean(seen: Observations, span: Span, resolution: float | None) -> tuple[float, float]:
    """Mean power of a span and its standard uncertainty: from pieces of it, and from steps of a power reading."""
    edges = np.linspace(*span, PARTS + 1)
    pieces = np.array([seen.energy_between(lo, hi) / (hi - lo) for lo, hi in pairwise(edges)])
    u = float(np.std(pieces, ddof=1)) / PARTS**0.5
    step_u = 0.0 if resolution is None else resolution / 12**0.5
    if seen.increments:  # the first and last count of the span may be a step and a refresh off, which the pieces show
        step_u *= 2**0.5 / (span[1] - span[0])
    return float(pieces.mean()), float(np.hypot(u, step_u))


def _steady_blocks(mine: Observations, theirs: Observations, length_s: float) -> Sequence[Span]:
    first, last = max(mine.first_read_s, theirs.first_read_s), min(mine.last_read_s, theirs.last_read_s)
    starts = np.arange(first, last - length_s, length_s)
    spans = [(float(start), float(start + length_s)) for start in starts]
    kept = np.ones(len(spans), np.bool_)
    for seen in (mine, theirs):
        halves = np.array([[seen.energy_between(lo, (lo + hi) / 2), seen.energy_between((lo + hi) / 2, hi)] for lo, hi in spans])
        if len(halves):
            halves /= length_s / 2
            kept &= np.abs(halves[:, 1] - halves[:, 0]) <= UNSTEADY * max(float(np.ptp(halves)), 1e-12)
    return [span for span, keep in zip(spans, kept, strict=True) if keep]
