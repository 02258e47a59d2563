"""Scatter of steps, told from readings that scatter for other reasons as well: stamps, noise, what was not seen, and slow drift."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_core.energy.intervals import positive_part
from tpb_core.energy.observations import Observations
from tpb_core.energy.step_scatter import Left, StepScatter, step_scatter
from tpb_core.energy.steps_said import Steps

SECONDS, STEP_S, STEP_W = 100.0, 0.02, 400.0
"""5000 steps of 8 J, one after the other."""
SCATTER = 0.02
RUNS = 30
TOGETHER_S = 2.0


def read(true_w: np.ndarray, lo_s: np.ndarray, hi_s: np.ndarray) -> np.ndarray:
    """Mean power between two times each, of steps with these powers."""
    edges = np.arange(len(true_w) + 1) * STEP_S
    joules = np.concatenate([[0.0], np.cumsum(true_w * STEP_S)])
    return np.asarray((np.interp(hi_s, edges, joules) - np.interp(lo_s, edges, joules)) / (hi_s - lo_s))


def scattered(rng: np.random.Generator, scatter: float = SCATTER) -> np.ndarray:
    return np.asarray(STEP_W * (1 + scatter * rng.standard_normal(round(SECONDS / STEP_S))))


def said_of(
    lo_s: np.ndarray, hi_s: np.ndarray, mean_w: np.ndarray, *, said_w: np.ndarray | None = None, increments: bool = False,
    coverage: float = 1.0, cell_s: float = 0.1, jitter_s: float = 0.0, noise_w: float = 0.0,
) -> StepScatter:  # fmt: skip
    """What is said of the scatter where a model says `said_w` of each step (all the same if none)."""
    t0_s = np.arange(round(SECONDS / STEP_S)) * STEP_S
    steps_w = np.full(len(t0_s), STEP_W) if said_w is None else said_w
    middle, jitter = (lo_s + hi_s) / 2, np.full(len(lo_s), jitter_s)
    cells = (lo_s, hi_s) if increments else (middle - cell_s / 2, middle + cell_s / 2)
    seen = Observations(
        lo_s, hi_s, mean_w, *cells, jitter, jitter, np.ones(len(lo_s), np.bool_), increments, cell_s, 0.0 if increments else
        float(np.median(hi_s - lo_s)), coverage, float(lo_s[0]), float(hi_s[-1]), 0.0,
    )  # fmt: skip
    left = Left(seen, slice(0, len(lo_s)), mean_w - read(steps_w, lo_s, hi_s), 0.0, noise_w, 1)
    return step_scatter(left, Steps(t0_s, t0_s + STEP_S, steps_w * STEP_S, 0.0), TOGETHER_S)


def root_mean(found: list[StepScatter]) -> float:
    return float(np.sqrt(np.mean([one.relative2 for one in found])))


def test_edges_that_move_are_no_scatter_of_steps() -> None:
    """A counter that is read every 0.1 s, whose stamps are off by 1 ms: 0.57 J of 40 J, beside steps that make for 0.36 J."""
    found, plain = [], []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        true_w, edges = scattered(rng), np.arange(1, 999) * 0.1
        moved = edges + 1e-3 * rng.standard_normal(len(edges))
        mean_w = read(true_w, moved[:-1], moved[1:]) * np.diff(moved) / np.diff(edges)
        found.append(said_of(edges[:-1], edges[1:], mean_w, increments=True))
        plain.append(np.var((mean_w - STEP_W) * 0.1) / (5 * (STEP_W * STEP_S) ** 2))
    assert root_mean(found) == pytest.approx(SCATTER, rel=0.1)
    assert np.sqrt(np.mean(plain)) > 1.7 * SCATTER  # what a sum of squares would have said


def test_noise_of_readings_and_time_between_them_are_no_scatter_of_steps() -> None:
    """Readings of 10 ms every 0.1 s, each within one step of 20 ms, with 10 W of noise that is known from idle time."""
    found = []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        true_w, lo_s = scattered(rng), np.arange(1, 999) * 0.1 + 0.004
        mean_w = read(true_w, lo_s, lo_s + 0.01) + 10 * rng.standard_normal(len(lo_s))
        found.append(said_of(lo_s, lo_s + 0.01, mean_w, noise_w=10.0))
    assert root_mean(found) == pytest.approx(SCATTER, rel=0.1)  # noise alone would make 10 W of 400 W, 2.5 %


def test_what_a_sensor_missed_is_no_scatter_of_steps() -> None:
    """A counter that adds up looks of 25 ms in each 0.1 s, nobody knows which; every tenth 0.2 s the power doubles."""
    found = []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        said_w = np.where(np.arange(round(SECONDS / STEP_S)) % 100 < 10, 2.0, 1.0) * STEP_W
        true_w = said_w * scattered(rng) / STEP_W
        edges = np.arange(1, 999) * 0.1 + 0.013
        looked = edges[:-1] + 0.075 * rng.random()
        found.append(said_of(edges[:-1], edges[1:], read(true_w, looked, looked + 0.025), said_w=said_w, increments=True, coverage=0.25))
    assert root_mean(found) == pytest.approx(SCATTER, rel=0.25)


def test_slow_drift_is_common_to_the_steps_of_a_request() -> None:
    """Power that goes up and down by 3 % in 50 s: a request of 2 s has all of it, and steps scatter as before."""
    found = []
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        slow = 0.03 * np.sqrt(2) * np.sin(2 * np.pi * np.arange(round(SECONDS / STEP_S)) * STEP_S / 50.0)
        edges = np.arange(1, 999) * 0.1
        found.append(said_of(edges[:-1], edges[1:], read(scattered(rng) + STEP_W * slow, edges[:-1], edges[1:]), increments=True))
    assert root_mean(found) == pytest.approx(SCATTER, rel=0.15)
    assert np.sqrt(np.mean([one.drift2 for one in found])) == pytest.approx(0.03, rel=0.1)


def test_without_drift_none_is_said() -> None:
    found = []
    for seed in range(RUNS):
        edges = np.arange(1, 999) * 0.1
        mean_w = read(scattered(np.random.default_rng(seed)), edges[:-1], edges[1:])
        found.append(said_of(edges[:-1], edges[1:], mean_w, increments=True))
    assert np.mean([one.drift2 > 0 for one in found]) < 0.2
    assert root_mean(found) == pytest.approx(SCATTER, rel=0.1)


@pytest.mark.parametrize(
    ("estimate", "error", "mean", "deviation"),
    [(10.0, 1.0, 10.0, 1.0), (0.0, 1.0, np.sqrt(2 / np.pi), np.sqrt(1 - 2 / np.pi)), (2.0, 0.0, 2.0, 0.0), (-2.0, 0.0, 0.0, 0.0)],
)
def test_what_cannot_be_negative_is_half_of_a_normal_distribution_at_zero(
    estimate: float, error: float, mean: float, deviation: float
) -> None:
    assert positive_part(estimate, error) == pytest.approx((mean, deviation))


def test_far_below_zero_little_is_left() -> None:
    mean, deviation = positive_part(-30.0, 1.0)
    assert 0.0 < mean == pytest.approx(1 / 30, rel=0.01)  # the tail of a normal distribution falls like an exponential of that length
    assert deviation == pytest.approx(1 / 30, rel=0.01)
