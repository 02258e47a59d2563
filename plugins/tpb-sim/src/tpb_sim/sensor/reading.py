"""A sensor at work: its updates so far, and what a read at any time returns."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_sim.sensor.spec import Faults, SensorSpec

TrueEnergy = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]
"""Exact energy in J from the start of the world to each time (ns of the run clock)."""

INSTANT_NS = 1_000.0
"""An instantaneous reading is the mean over one microsecond: shorter, and the difference of two integrals is lost in rounding."""

BLOCK = 1024
"""Updates whose times are drawn together."""


@dataclass(frozen=True)
class Readings:
    """What a poll of one channel gave: values, and False where nothing could be read."""

    value: npt.NDArray[np.float64]
    readable: npt.NDArray[np.bool_]


class Sensor:
    """Deterministic by seed: whether it is read tick by tick or all at once, it says the same."""

    def __init__(self, spec: SensorSpec, true_energy: TrueEnergy, start_ns: int, seed: int, faults: Faults | None = None) -> None:
        self.spec = spec
        self.faults = faults or Faults()
        self.start_ns = start_ns
        self._true_energy = true_energy
        first, noise, jitter = np.random.SeedSequence(seed).spawn(3)
        self._noise, self._jitter = np.random.default_rng(noise), np.random.default_rng(jitter)
        begin = np.random.default_rng(first)
        self._phase_ns = -float(begin.random()) * spec.update_ms * 1e6
        self._base_j = 0.0 if spec.resolution_j == 0.0 else round(float(begin.random()) * 1e5, 3)
        self._drawn = 0
        self._planned_ns = np.zeros(0)
        self._updates_ns, self._watts, self._joules = array("d"), array("d"), array("d")
        self._sampled_j = 0.0

    def power(self, t_ns: npt.ArrayLike) -> Readings:
        """The power reading in W at each time."""
        times = self._effective(t_ns)
        return Readings(np.frombuffer(self._watts)[self._rows(times)], self._readable(t_ns))

    def energy(self, t_ns: npt.ArrayLike) -> Readings:
        """The counter in J at each time, wrapped and reset as the device would."""
        times = self._effective(t_ns)
        rows = self._rows(times)
        joules = np.frombuffer(self._joules)[rows]
        joules = joules - self._zero_j(times)
        if self.spec.wrap_j > 0.0:
            joules = np.mod(joules, self.spec.wrap_j)
        if self.spec.resolution_j > 0.0:
            joules = np.floor(joules / self.spec.resolution_j + 1e-6) * self.spec.resolution_j
        return Readings(joules, self._readable(t_ns))

    def _zero_j(self, times_ns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What the counter stood at when it was last reset before each time; 0 where it never was."""
        resets = self.start_ns + np.sort(np.array(self.faults.resets_s, dtype=np.float64)) * 1e9
        standing = np.concatenate([[0.0], np.frombuffer(self._joules)[self._rows(resets)]])
        return standing[np.searchsorted(resets, times_ns, side="right")]

    def _effective(self, t_ns: npt.ArrayLike) -> npt.NDArray[np.float64]:
        times = np.atleast_1d(np.asarray(t_ns, dtype=np.float64))
        if times.size:
            self._extend(float(times.max()))
        for begin_s, end_s in self.faults.stuck_s:
            begin_ns = self.start_ns + begin_s * 1e9
            times = np.where((times >= begin_ns) & (times < self.start_ns + end_s * 1e9), begin_ns, times)
        return times

    def _readable(self, t_ns: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        after_s = (np.atleast_1d(np.asarray(t_ns, dtype=np.float64)) - self.start_ns) / 1e9
        readable = np.ones(after_s.shape, dtype=np.bool_)
        for begin_s, end_s in self.faults.gaps_s:
            readable &= (after_s < begin_s) | (after_s >= end_s)
        return readable

    def _rows(self, times_ns: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        rows: npt.NDArray[np.intp] = np.searchsorted(np.frombuffer(self._updates_ns), times_ns, side="right") - 1
        return np.maximum(rows, 0)

    def _plan(self, until_ns: float) -> npt.NDArray[np.float64]:
        """The next updates up to `until_ns`. They are drawn in blocks, so that jitter does not depend on when the sensor is read."""
        spec, period_ns = self.spec, self.spec.update_ms * 1e6
        while not self._planned_ns.size or self._planned_ns[-1] <= until_ns:
            grid = self.start_ns + self._phase_ns + period_ns * np.arange(self._drawn, self._drawn + BLOCK)
            jitter_ms = np.clip(self._jitter.standard_normal(BLOCK) * spec.jitter_ms, -0.4 * spec.update_ms, 0.4 * spec.update_ms)
            if not self._drawn:
                jitter_ms[0] = 0.0  # there is an update at or before the start
            self._planned_ns = np.concatenate([self._planned_ns, grid + jitter_ms * 1e6])
            self._drawn += BLOCK
        due = int(np.searchsorted(self._planned_ns, until_ns, side="right"))
        updates, self._planned_ns = self._planned_ns[:due], self._planned_ns[due:]
        return updates

    def _extend(self, until_ns: float) -> None:
        updates = self._plan(until_ns)
        wanted, spec = len(updates), self.spec
        if not wanted:
            return
        seen = updates - spec.delay_ms * 1e6
        energy = self._true_energy(seen)
        window_ns = max(spec.averaging_ms * 1e6, INSTANT_NS)
        mean_w = (energy - self._true_energy(seen - window_ns)) / (window_ns / 1e9)
        clean_w = spec.gain * mean_w + spec.offset_w
        watts = noisy_w = clean_w + spec.noise_w * self._noise.standard_normal(wanted)
        if spec.resolution_w > 0.0:
            watts = np.round(watts / spec.resolution_w) * spec.resolution_w
        if spec.counter_sampled:
            joules = self._sampled_j + np.cumsum(noisy_w) * (spec.update_ms / 1e3)
            self._sampled_j = float(joules[-1])
        else:
            joules = spec.gain * energy + spec.offset_w * (seen - self.start_ns) / 1e9
        self._updates_ns.frombytes(updates.tobytes())
        self._watts.frombytes(watts.tobytes())
        self._joules.frombytes((joules + self._base_j).tobytes())
