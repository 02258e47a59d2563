"""Increments that a window's edge divides: what the model did not foresee of them goes to the side where power scatters."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_core.energy.alignment import Timing
from tpb_core.energy.columns import Columns
from tpb_core.energy.observations import Observations, from_counter
from tpb_core.energy.regression import fit_window
from tpb_core.energy.timeline import NOTHING, State, Timeline
from tpb_core.energy.window_edges import Division, Seen, divide_increments
from tpb_core.testing.power_world import PowerTrace

CELLS = 30
REFRESH_S = 0.1

LOAD = Timeline(np.array([1.16, 1.17, 3.5]), np.full(2, State.DECODE, np.int8), np.ones(2, np.int32))
"""Nothing ran before the window."""


def divided(t0_s: float, timeline: Timeline, before_w: float, stamp_u_s: float = 0.0) -> Division:
    """A window from `t0_s`, in the second tenth after 1 s, to 3 s. Residuals alternate: +-`before_w` before it, +-4 W inside."""
    edge = REFRESH_S * np.arange(CELLS + 1)
    nothing = np.zeros(CELLS)
    good = np.ones(CELLS, np.bool_)
    lo, hi = edge[:-1], edge[1:]
    observations = Observations(lo, hi, nothing, lo, hi, nothing, nothing, good, True, REFRESH_S, 0.0, 1.0, 0.0, 3.0, REFRESH_S)
    sign = (-1.0) ** np.arange(CELLS)
    residual = sign * np.where(np.arange(CELLS) < 11, before_w, 4.0)
    columns = Columns(timeline, t0_s, 3.0, (-1.0, 4.0))
    seen = Seen(residual, np.full(CELLS, 400.0), good, np.full(CELLS + 1, stamp_u_s))
    return divide_increments(observations, slice(0, CELLS), seen, columns, columns.filtered(observations, slice(0, CELLS)), 0.0)


def test_an_increment_is_divided_by_how_power_scatters_on_either_side() -> None:
    # 40 ms inside with (2 * 4)^2 / 2 = 32 W^2, 60 ms before it with (2 * 1)^2 / 2 = 2 W^2: 1.28 parts of 1.40 are the window's.
    division = divided(1.16, LOAD, 1.0)
    share = 1.28 / 1.40
    assert division.cells[0] == 11
    assert division.taken_s[11] == pytest.approx(0.1 * share)
    # The level before comes from the 11 cells wholly there: they make up for the 60 % of what was taken that lies before the edge.
    level_s = 0.6 * 0.1 * share
    assert division.taken_s[:11] == pytest.approx(-level_s / 11)
    # 0.1 * 1.28 * 0.12 / 1.40 of the division, and the level's 2 W^2 over 11 cells.
    assert division.variance_j2 == pytest.approx(0.1 * 1.28 * 0.12 / 1.40 + level_s**2 * 2 / 11)


def test_without_steps_an_even_stretch_is_no_sign_of_rest() -> None:
    division = divided(1.16, NOTHING, 1.0)
    assert division.taken_s[11] == pytest.approx(0.04)
    assert division.variance_j2 == pytest.approx(0.1 * 0.04 * 0.06 / 0.1 * 32 + 0.024**2 * 32 / 11)


def test_stamps_make_neighbours_differ_and_are_no_scatter_of_power() -> None:
    # 0.5 ms of 400 W over 100 ms move 2 W, which adds 3 * 4 W^2 to half the mean squared difference: 32 - 12 = 20 W^2 are left inside,
    # and a tenth of 2 W^2 before. 0.04 * 20 parts of 0.04 * 20 + 0.06 * 0.2 are the window's.
    assert divided(1.16, LOAD, 1.0, 0.5e-3).taken_s[11] == pytest.approx(0.1 * 0.8 / 0.812)


def test_a_step_across_the_edge_errs_on_both_sides_together() -> None:
    def decode(begins_s: float, ends_s: float) -> Timeline:
        edge = np.array([0.0, begins_s, ends_s, 3.5])
        return Timeline(edge, np.full(3, State.DECODE, np.int8), np.ones(3, np.int32))

    # Decode before and after: as it scatters inside, whatever the cells before say. Time divides: 40 ms.
    one, other = divided(1.16, decode(1.15, 1.17), 1.0), divided(1.16, decode(1.02, 1.9), 1.0)
    assert one.taken_s[11] == pytest.approx(0.04)
    # One step of 20 ms across it: 30 ms inside and 50 ms before err by themselves; 10 of its 20 ms are the window's, not 40 %.
    assert one.variance_j2 == pytest.approx(0.1 * 32 * (0.03 * 0.6**2 + 0.05 * 0.4**2 + 0.02 * (0.5 - 0.4) ** 2))
    # The whole increment is one step: 40 % of what it did otherwise is in 40 % of its time.
    assert other.variance_j2 == pytest.approx(0.0, abs=1e-12)


def test_a_weak_first_step_after_rest_does_not_move_the_energy_of_the_window() -> None:
    """At rest 100 W. From 20.06 s on 400 W, give or take 20 W in each tenth of a second; only the first 40 ms draw 300 W.

    The counter refreshes at tenths of a second. The model expects 4 J more in the first increment than it shows. Divided by time, the
    window would give up 40 % of them and be 2.4 J too high; but a device at rest does not draw 4 J less.
    """
    rng = np.random.default_rng(7)
    load = 400 + 20 * rng.standard_normal(200)
    edge = np.concatenate([[0.0, 20.06], 20.1 + REFRESH_S * np.arange(201), [60.0]])
    trace = PowerTrace(edge, np.concatenate([[100.0, 300.0], load, [100.0]]))
    read_s = np.arange(10.005, 50.0, 0.01)
    refreshed_s = np.floor(read_s / REFRESH_S) * REFRESH_S
    observations, _ = from_counter(
        read_s, trace.energy(refreshed_s), np.zeros(len(read_s)), wrap_j=None, max_power_w=None, update_s=REFRESH_S, delay_s=0.0
    )
    steps = Timeline(np.array([20.06, 40.1]), np.array([State.DECODE], np.int8), np.ones(1, np.int32))
    fit = fit_window(observations, steps, 20.06, 40.1, Timing(), None)
    assert fit.names[0] == "total"
    assert fit.energy_j[0] == pytest.approx(trace.between(20.06, 40.1), abs=0.8)
    u_j = float(np.sqrt(sum(covariance[0, 0] for covariance in fit.covariances.values())))
    assert abs(fit.energy_j[0] - trace.between(20.06, 40.1)) < 2 * u_j < 2.0
