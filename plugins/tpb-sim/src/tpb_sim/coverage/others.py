"""What others would have said on the same samples: the common practices, each as it is commonly done. No intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.api import Series
from tpb_sim.coverage.estimates import WINDOW
from tpb_sim.memory_run import SimRun
from tpb_sim.truth.tables import gpu_domains

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
Figures = tuple[dict[str, float], dict[int, float]]
"""Joules of phases of the window, and of requests."""

GRACE_NS = 666_000_000
"""How long one practice waits after the end for a slow sensor to catch up before it reads."""


@dataclass(frozen=True)
class Stretches:
    """Intervals that a practice would measure: the window, its steps by phase, its requests. Starts and ends in ns."""

    window: tuple[Times, Times]
    prefill: tuple[Times, Times]
    decode: tuple[Times, Times]
    requests: tuple[Times, Times]


def stretches(run: SimRun) -> Stretches:
    """A step that does both phases counts as prefill, as it does where one looks at the first token only."""
    window = next(w for w in run.windows if w.window == WINDOW)
    steps = run.columns("steps")
    assert steps is not None
    t0, t1 = (np.clip(steps[name].values, window.t0_ns, window.t1_ns) for name in ("t0_ns", "t1_ns"))
    first = steps["prefill_tokens"].values > 0
    begin = np.array([s.submitted_ns for s in run.sequences], dtype=np.int64)
    end = np.array([window.t1_ns if s.finished_ns is None else s.finished_ns for s in run.sequences], dtype=np.int64)
    return Stretches((np.array([window.t0_ns]), np.array([window.t1_ns])), (t0[first], t1[first]), (t0[~first], t1[~first]), (begin, end))


def _counter_at(series: Series, t_ns: Times) -> Floats:
    """The last reading before each time, as a tool that reads the counter when something happens would have it."""
    return series.value[np.maximum(np.searchsorted(series.t_ns, t_ns, side="right") - 1, 0)]


def counter_at_edges(run: SimRun, grace_ns: int = 0) -> Figures:
    """Difference of the counter at both ends of each stretch."""
    spans, phases = stretches(run), dict.fromkeys(("total", "prefill", "decode"), 0.0)
    requests = np.zeros(len(run.sequences))
    for device in gpu_domains(run.world):
        series = run.readings.get(f"{device}/energy")
        if series is None:
            return {}, {}

        def over(pair: tuple[Times, Times], series: Series = series) -> Floats:
            return _counter_at(series, pair[1] + grace_ns) - _counter_at(series, pair[0])

        for figure, pair in (("total", spans.window), ("prefill", spans.prefill), ("decode", spans.decode)):
            phases[figure] += float(over(pair).sum())
        requests += over(spans.requests)
    if "n0" in run.world.sensors:
        del phases["total"]  # counters know nothing of the node
    return phases, {s.request: float(j) for s, j in zip(run.sequences, requests, strict=True)}


def window_around_each_request(run: SimRun) -> Figures:
    """The counter around each request, added up: under concurrency the same joules are counted for everybody who was there."""
    _, requests = counter_at_edges(run)
    return ({"total": sum(requests.values())} if requests and "n0" not in run.world.sensors else {}), requests


def tokens_times_average(run: SimRun) -> Figures:
    """Every token, read or written, costs the same: the window's counter over all tokens."""
    phases, _ = counter_at_edges(run)
    if "total" not in phases:
        return {}, {}
    read, written = (sum(getattr(s, name) for s in run.sequences) for name in ("input_tokens", "emitted"))
    each_j = phases["total"] / max(read + written, 1)
    requests = {s.request: each_j * (s.input_tokens + s.emitted) for s in run.sequences}
    return {"total": phases["total"], "prefill": each_j * read, "decode": each_j * written}, requests


def _by_power(run: SimRun, integrate: Callable[[Series, tuple[Times, Times]], Floats]) -> Figures:
    """Phases and requests from the devices' power, the window's total from the node's where it is metered."""
    spans, phases = stretches(run), dict.fromkeys(("total", "prefill", "decode"), 0.0)
    requests = np.zeros(len(run.sequences))
    for device in gpu_domains(run.world):
        series = run.readings[f"{device}/power"]
        for figure, pair in (("total", spans.window), ("prefill", spans.prefill), ("decode", spans.decode)):
            phases[figure] += float(integrate(series, pair).sum())
        requests += integrate(series, spans.requests)
    if "n0/power" in run.readings:
        phases["total"] = float(integrate(run.readings["n0/power"], spans.window).sum())
    return phases, {s.request: float(j) for s, j in zip(run.sequences, requests, strict=True)}


def mean_power_times_duration(run: SimRun) -> Figures:
    """Mean of the readings that fall into the stretches of a phase, times how long the phase lasted in all."""

    def integrate(series: Series, pair: tuple[Times, Times]) -> Floats:
        sums = np.concatenate([[0.0], np.cumsum(series.value)])
        first, last = (np.searchsorted(series.t_ns, edges) for edges in pair)
        count, seconds = last - first, (pair[1] - pair[0]) / 1e9
        joules = sums[last] - sums[first]
        # a stretch without a reading takes the mean of all the others
        everywhere = joules.sum() / max(int(count.sum()), 1)
        mean_w: Floats = np.where(count > 0, joules / np.maximum(count, 1), everywhere)
        return mean_w * seconds

    return _by_power(run, integrate)


def trapezoid_over_1s_averages(run: SimRun) -> Figures:
    """Trapezoid rule over readings that are averages of the last second, taken where they were read."""

    def integrate(series: Series, pair: tuple[Times, Times]) -> Floats:
        sums = np.concatenate([[0.0], np.cumsum(series.value)])
        first = np.searchsorted(series.t_ns, series.t_ns - 1_000_000_000, side="right")
        rows = np.arange(1, len(series.t_ns) + 1)
        average_w = (sums[rows] - sums[first]) / np.maximum(rows - first, 1)
        joules = np.concatenate([[0.0], np.cumsum((average_w[1:] + average_w[:-1]) / 2 * np.diff(series.t_ns) / 1e9)])
        at: list[Floats] = [np.interp(edges, series.t_ns, joules) for edges in pair]
        return at[1] - at[0]

    return _by_power(run, integrate)


def with_grace(run: SimRun) -> Figures:
    """The counter at the start and 666 ms after the end of each stretch."""
    return counter_at_edges(run, GRACE_NS)


PRACTICES: dict[str, Callable[[SimRun], Figures]] = {
    "counter_at_edges": counter_at_edges,
    "window_around_each_request": window_around_each_request,
    "tokens_times_average": tokens_times_average,
    "mean_power_times_duration": mean_power_times_duration,
    "trapezoid_over_1s_averages": trapezoid_over_1s_averages,
    "grace_of_666_ms": with_grace,
}
