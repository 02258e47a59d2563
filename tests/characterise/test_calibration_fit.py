"""Gain and offset against a reference: recovered within what is stated, refused where the levels do not carry them."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_core.api import Channel, PreconditionFailed, Window
from tpb_core.energy.calibration import Level, fit_calibration
from tpb_core.energy.steady import steady_levels
from tpb_core.testing.memory_run import MemoryRun
from tpb_core.testing.power_world import PowerTrace, Refresh, read_counter, read_power

LEVELS_W = (90.0, 180.0, 320.0, 410.0, 260.0, 130.0)


def drawn(rng: np.random.Generator, gain: float, offset_w: float, u_w: float) -> list[Level]:
    return [Level((true - offset_w) / gain + rng.normal(0, u_w), u_w, true + rng.normal(0, u_w), u_w) for true in LEVELS_W]


def test_a_line_through_exact_levels_is_exact() -> None:
    """Channel reads 10 W less than 1.25 times too little: reference = 10 + 1.25 * channel."""
    levels = [Level((true - 10) / 1.25, 0.1, true, 0.1) for true in LEVELS_W]
    fit = fit_calibration(levels, reference_u_rel=0.01, reference_u_w=0.5)
    assert (fit.gain, fit.offset_w) == pytest.approx((1.25, 10.0))
    assert fit.levels == 6
    assert fit.gain_u_rel == pytest.approx(0.01, rel=0.01), "the reference's own 1 % is nearly all of it"
    assert fit.offset_u_w == pytest.approx((0.5**2 + 0.1**2 + (1.25 * 0.1) ** 2) ** 0.5, rel=0.35)


def test_the_stated_uncertainties_cover() -> None:
    """400 draws: a 95 % interval (4 degrees of freedom are widened by the scatter) holds the truth in 88 to 99 % of them."""
    rng = np.random.default_rng(5)
    hits = np.zeros(2)
    for _ in range(400):
        fit = fit_calibration(drawn(rng, 0.96, 7.0, 1.5))
        hits += [abs(fit.gain - 0.96) < 1.96 * fit.gain * fit.gain_u_rel, abs(fit.offset_w - 7.0) < 1.96 * fit.offset_u_w]
    assert all(0.88 <= share <= 0.995 for share in hits / 400), hits / 400


def test_too_few_levels_are_refused() -> None:
    levels = [Level(x, 0.1, x, 0.1) for x in (100.0, 200.0, 200.5, 300.0, 300.2, 100.1)]
    with pytest.raises(PreconditionFailed, match="3 steady levels are too few"):
        fit_calibration(levels)


def test_a_range_too_small_is_refused() -> None:
    levels = [Level(x, 0.01, x, 0.01) for x in (400.0, 402.0, 404.0, 406.0, 408.0, 410.0)]
    with pytest.raises(PreconditionFailed, match="only moved from 400 to 410 W"):
        fit_calibration(levels)


def test_noise_as_large_as_the_range_is_refused() -> None:
    levels = [Level(x, 10.0, x, 10.0) for x in (50.0, 60.0, 70.0, 80.0, 90.0, 100.0)]
    with pytest.raises(PreconditionFailed, match="only moved"):
        fit_calibration(levels)


def channel(name: str, kind: str, **more: float) -> Channel:
    return Channel(f"n0/{name}", "n0", "node", kind, "W" if kind == "power" else "J", "measured", resolution=0.001, **more)


@pytest.mark.parametrize("noted", [True, False], ids=["load steps", "any run"])
def test_levels_of_a_run_give_gain_and_offset_of_power_and_counter(noted: bool) -> None:
    """A wall meter (1 s, exact) beside a sensor that reads 5 % low and 6 W short: truth = 6.3 + 1.0526 * reading; a counter 3 % high."""
    rng = np.random.default_rng(11)
    hold_s = 20.0
    edges = np.arange(len(LEVELS_W) + 1) * hold_s
    trace = PowerTrace(edges, np.array(LEVELS_W))
    reads = np.arange(0.0, edges[-1], 0.1)
    low = read_power(trace, reads, Refresh(0.1), 0.1, rng, noise_w=1.0, gain=0.95)
    wall = read_power(trace, reads, Refresh(1.0, 0.5), 1.0, rng, noise_w=0.3)
    count = read_counter(trace, reads, Refresh(0.1), rng, gain=1.03)
    low.value[:] -= 6.0
    notes = [f"load {k}" for k in range(6)]
    starts = np.round(edges * 1e9).astype(np.int64)
    windows = {"window": np.array([f"measure/{k}" for k in range(6)]), "t0_ns": starts[:-1], "t1_ns": starts[1:], "note": np.array(notes)}
    run = MemoryRun(
        channels=[
            channel("low", "power", averaging_ms=100, update_ms=100),
            channel("count", "energy_counter", update_ms=100),
            channel("wall", "power", averaging_ms=1000, update_ms=1000, delay_ms=500),
        ],
        windows=[Window("measure", 0, int(starts[-1]))],
        samples={"n0/low": low, "n0/wall": wall, "n0/count": count},
        tables={"windows": windows} if noted else {},
    )
    for mine, gain, offset_w in ((0, 1 / 0.95, 6 / 0.95), (1, 1 / 1.03, 0.0)):
        fit = fit_calibration(steady_levels(run, run.channels[mine], run.channels[2]))
        assert fit.levels >= (6 if noted else 5)
        assert abs(fit.gain - gain) < 3 * fit.gain * fit.gain_u_rel
        assert abs(fit.offset_w - offset_w) < 3 * fit.offset_u_w
        assert fit.gain_u_rel < 0.01
        assert fit.offset_u_w < 2.5
