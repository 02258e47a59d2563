"""Trials of a meter in virtual time against a known power: does the stated interval hold the true energy of a phase?

A trial is idle, busy, idle. The stand-in shows what the sensor would show (`show(t_s)`), the real meter reads it through its own parser,
and the core's estimator computes the energy of the busy window, whose edges fall anywhere between readings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tpb_core.api import Channel, Meter, MeterConfig, Reading, Reason, Series, Window
from tpb_core.energy.domain_energy import domain_energy
from tpb_core.energy.intervals import interval
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.testing.memory_run import MemoryRun
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.power_world import PowerTrace

_MARGIN_S = 4.0
_READ_TAKES_NS = 50_000
_OWN_STREAM = 1
"""A sensor whose phase is drawn from `default_rng(seed)` must not be in step with the window: the trial draws from a stream of its own."""


class TrialClock:
    """A virtual clock that a trial sets. Reading a sensor takes 50 us."""

    virtual = True

    def __init__(self) -> None:
        self.t_ns = 0

    def now_ns(self) -> int:
        """The present, which moves on by the cost of half a reading."""
        self.t_ns += _READ_TAKES_NS // 2
        return self.t_ns

    def sleep_until(self, t_ns: int) -> None:
        """Jump there."""
        self.t_ns = max(self.t_ns, t_ns)


@dataclass(frozen=True)
class Trial:
    """True energy of the busy window in joules, the figure and its 95 % interval within the rig, or the reason why there is none."""

    truth_j: float
    joules: float | None
    low_j: float
    high_j: float
    reason: Reason | None

    @property
    def holds(self) -> bool:
        """Whether the interval holds the truth."""
        return self.joules is not None and self.low_j <= self.truth_j <= self.high_j


def idle_busy_idle(rng: np.random.Generator, phase_s: float) -> tuple[PowerTrace, float, float]:
    """(power, start, end of the busy phase in s): 220 W in pieces of 20 to 80 ms that vary by 15 %, between 60 W that vary by 3 %."""
    start_s = _MARGIN_S + float(rng.uniform(0, 1))
    end_s = start_s + phase_s
    edges = [np.arange(0.0, start_s, 0.5), start_s + np.concatenate([[0.0], np.cumsum(rng.uniform(0.02, 0.08, round(phase_s / 0.02)))])]
    edges[1] = edges[1][edges[1] < end_s]
    edges.append(np.arange(end_s, end_s + _MARGIN_S + 1.0, 0.5))
    spreads = [(60.0, 0.03), (220.0, 0.15), (60.0, 0.03)]
    watts = np.concatenate([level * (1 + spread * rng.uniform(-1, 1, len(e))) for e, (level, spread) in zip(edges, spreads, strict=True)])
    edge_s = np.concatenate(edges)
    return PowerTrace(edge_s, watts[:-1]), start_s, end_s


def run_trial(
    meter: Callable[[RecordingContext], Meter[MeterConfig]],
    show: Callable[[PowerTrace, float], None],
    *,
    phase_s: float,
    seed: int,
    domain: str,
    poll_s: float = 0.1,
) -> Trial:
    """One trial. `meter` makes the meter in a context with the virtual clock; `show(trace, t_s)` sets what the stand-in shows at a time."""
    rng = np.random.default_rng((seed, _OWN_STREAM))
    trace, start_s, end_s = idle_busy_idle(rng, phase_s)
    context = RecordingContext()
    clock = TrialClock()
    context.clock = clock
    show(trace, 0.0)
    instrument = meter(context)
    channels = instrument.discover()
    instrument.open()
    readings: list[Reading] = []
    for t_s in np.arange(float(rng.uniform(0, poll_s)), end_s + _MARGIN_S, poll_s):
        clock.sleep_until(round(t_s * 1e9))
        show(trace, clock.t_ns * 1e-9)
        readings += instrument.read()
    instrument.close()
    busy = Window("busy", round(start_s * 1e9), round(end_s * 1e9))
    run = MemoryRun(manifest={"clock": {}}, channels=channels, windows=[busy], samples=_series(channels, readings))
    energy = RunEnergy(run)
    figure = domain_energy(energy, energy.tree.domains[domain], busy, largest_u_share=1.0)
    truth_j = trace.between(start_s, end_s)
    if figure.total is None:
        return Trial(truth_j, None, np.nan, np.nan, figure.reason)
    low, high = interval(figure.total.joules, figure.total.u_without_calibration_j, figure.total.dof(calibration=False))
    return Trial(truth_j, figure.total.joules, low, high, None)


def _series(channels: list[Channel], readings: list[Reading]) -> dict[str, Series]:
    rows: dict[str, list[Reading]] = defaultdict(list)
    for reading in readings:
        rows[reading.channel].append(reading)
    return {
        channel.channel: Series(
            np.array([(r.t_before_ns + r.t_after_ns) // 2 for r in rows[channel.channel]], np.int64),
            np.array([(r.t_after_ns - r.t_before_ns + 1) // 2 for r in rows[channel.channel]], np.int64),
            np.array([r.value for r in rows[channel.channel]], np.float64),
        )
        for channel in channels
    }
