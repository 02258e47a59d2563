"""Known power: a trace whose energy is exact, and sensors that read it with averaging, delay, refresh, gain, noise, wraps and resets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.api import Series
from tpb_core.testing.memory_run import series_of

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PowerTrace:
    """Piecewise-constant power: `watts[k]` on `[edge_s[k], edge_s[k + 1])`, the first and last value beyond the ends."""

    edge_s: Floats
    watts: Floats

    def energy(self, t_s: Floats) -> Floats:
        """Joules from the first edge up to each time; exact."""
        total = np.concatenate([[0.0], np.cumsum(self.watts * np.diff(self.edge_s))])
        inside = np.interp(t_s, self.edge_s, total)
        before = np.minimum(t_s - self.edge_s[0], 0.0) * self.watts[0]
        after = np.maximum(t_s - self.edge_s[-1], 0.0) * self.watts[-1]
        return np.asarray(inside + before + after)

    def between(self, t0_s: float, t1_s: float) -> float:
        """Joules of a window; exact."""
        return float(np.diff(self.energy(np.array([t0_s, t1_s])))[0])

    def within(self, spans_s: Floats) -> float:
        """Joules of several spans, rows of (from, to)."""
        return float((self.energy(spans_s[:, 1]) - self.energy(spans_s[:, 0])).sum())


@dataclass(frozen=True)
class Refresh:
    """When a sensor takes a new value: every `every_s`, with a spread, from a random phase; shown `delay_s` later."""

    every_s: float
    delay_s: float = 0.0
    spread_s: float = 0.0

    def times(self, t0_s: float, t1_s: float, rng: np.random.Generator) -> Floats:
        """The instants that values belong to, from one period before `t0_s`."""
        grid = np.arange(t0_s - 2 * self.every_s - self.delay_s, t1_s + self.every_s, self.every_s) + rng.uniform(0, self.every_s)
        return np.asarray(np.sort(grid + rng.uniform(-self.spread_s, self.spread_s, len(grid))))


def read_power(
    trace: PowerTrace,
    read_s: Floats,
    refresh: Refresh,
    averaging_s: float,
    rng: np.random.Generator,
    noise_w: float = 0.0,
    gain: float = 1.0,
) -> Series:
    """Readings of a power sensor that holds the mean of the last `averaging_s` until its next refresh."""
    at = refresh.times(float(read_s[0]), float(read_s[-1]), rng)
    width = max(averaging_s, 1e-6)
    value = gain * (trace.energy(at) - trace.energy(at - width)) / width + rng.normal(0, noise_w, len(at))
    row = np.searchsorted(at + refresh.delay_s, read_s, "right") - 1
    return series_of(read_s, value[np.maximum(row, 0)])


def read_counter(
    trace: PowerTrace, read_s: Floats, refresh: Refresh, rng: np.random.Generator, *,
    wrap_j: float = 0.0, resolution_j: float = 0.0, resets_s: tuple[float, ...] = (), gain: float = 1.0, start_j: float = 0.0,
) -> Series:  # fmt: skip
    """Readings of an energy counter that is brought up to date at each refresh."""
    at = refresh.times(float(read_s[0]), float(read_s[-1]), rng)
    counted = start_j + gain * (trace.energy(at) - trace.energy(at[:1]))
    for reset in resets_s:
        zero = start_j + gain * float((trace.energy(np.array([reset])) - trace.energy(at[:1]))[0])
        counted = np.where(at >= reset, counted - zero, counted)
    if resolution_j:
        counted = np.floor(counted / resolution_j) * resolution_j
    if wrap_j:
        counted = np.mod(counted, wrap_j)
    row = np.searchsorted(at + refresh.delay_s, read_s, "right") - 1
    return series_of(read_s, counted[np.maximum(row, 0)])
