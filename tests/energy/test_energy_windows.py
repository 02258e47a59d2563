"""Windows, holes and bases: what is NULL and why, what is bridged, what is subtracted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tpb_attributors import Totals, TotalsConfig
from tpb_core.api import Channel, EnergyRow, Ledger, Series, Window
from tpb_core.testing.memory_run import MemoryRun, series_of
from tpb_core.testing.power_world import PowerTrace, Refresh, read_counter, read_power

TRACE = PowerTrace(np.array([0.0, 100.0, 160.0, 200.0]), np.array([100.0, 400.0, 110.0]))
"""100 W idle, 400 W from 100 s to 160 s, 110 W idle."""
WINDOWS = [
    Window(name, int(a * 1e9), int(b * 1e9))
    for name, a, b in (("idle_loaded_before", 80, 100), ("measure", 100, 160), ("idle_loaded_after", 160, 190))
]


def counter(**keys: Any) -> Channel:
    return Channel("n0/gpu0/energy", "n0/gpu0", "gpu", "energy_counter", "J", "measured", **{"update_ms": 100.0, "delay_ms": 0.0, **keys})


def power(**keys: Any) -> Channel:
    return Channel(
        "n0/gpu0/power", "n0/gpu0", "gpu", "power", "W", "measured", **{"update_ms": 100.0, "averaging_ms": 100.0, "delay_ms": 0.0, **keys}
    )


def ledger_of(channels: dict[Channel | str, Series], windows: list[Window] | None = None, listed: list[Channel] | None = None) -> Ledger:
    run = MemoryRun("run", {}, listed or [], windows or WINDOWS, {str(k): v for k, v in channels.items()})
    return Totals(TotalsConfig()).attribute([run])[0]


def of(channel: Channel, series: Series, windows: list[Window] | None = None) -> Ledger:
    return ledger_of({channel.channel: series}, windows, [channel])


def row(ledger: Ledger, window: str = "measure", basis: str = "gross", phase: str = "total") -> EnergyRow:
    return next(r for r in ledger.energy if (r.window, r.domain, r.phase, r.basis) == (window, "n0/gpu0", phase, basis))


def reads(step_s: float = 0.05) -> np.ndarray:
    return np.arange(75.0, 199.0, step_s)


def test_counter_and_power_give_the_energy_of_the_window_within_their_interval() -> None:
    rng = np.random.default_rng(1)
    for channel, series in (
        (counter(), read_counter(TRACE, reads(), Refresh(0.1), rng)),
        (power(), read_power(TRACE, reads(), Refresh(0.1), 0.1, rng)),
    ):
        figure = row(of(channel, series))
        assert figure.joules == pytest.approx(24_000.0, rel=2e-3)
        assert figure.ci_low_j is not None
        assert figure.ci_high_j is not None
        assert figure.ci_low_j - 30 <= 24_000.0 <= figure.ci_high_j + 30


def test_a_one_second_average_is_not_smeared_over_the_edges_of_the_window() -> None:
    """Shifting alone would leave W/8 of the step in power outside at each edge: 2 * 0.125 s * 300 W = 75 J."""
    rng = np.random.default_rng(2)
    windows = [Window("measure", 100_000_000_000, 104_000_000_000)]
    short = PowerTrace(np.array([0.0, 100.0, 104.0, 200.0]), np.array([100.0, 400.0, 110.0]))
    figure = row(of(power(averaging_ms=1000.0), read_power(short, reads(), Refresh(0.1), 1.0, rng), windows))
    assert figure.joules == pytest.approx(1600.0, rel=0.01)


def test_net_bases_subtract_the_mean_idle_power_and_carry_the_drift() -> None:
    rng = np.random.default_rng(3)
    ledger = of(counter(), read_counter(TRACE, reads(), Refresh(0.1), rng))
    assert row(ledger, basis="net_loaded").joules == pytest.approx(60 * (400 - 105), rel=2e-3)
    assert row(ledger).of_which_static_j == pytest.approx(60 * 105, rel=2e-3)
    drift = [
        b for b in ledger.budget if b.term == "idle_drift" and b.window == "measure" and b.basis == "net_loaded" and b.domain == "n0/gpu0"
    ]
    assert [abs(b.du_j) for b in drift] == pytest.approx([60 * 10 / np.sqrt(12)] * len(drift), rel=0.02)
    assert drift
    assert row(ledger, basis="net_bare").reason == "no_idle_window"


def test_gain_cancels_in_the_net_basis_as_far_as_it_is_subtracted() -> None:
    rng = np.random.default_rng(3)
    ledger = of(counter(gain_u_rel=0.1, offset_u_w=7.0), read_counter(TRACE, reads(), Refresh(0.1), rng))
    gain = [
        b.du_j
        for b in ledger.budget
        if (b.term, b.window, b.basis, b.phase, b.domain) == ("gain", "measure", "net_loaded", "total", "n0/gpu0")
    ]
    offset = [
        b.du_j
        for b in ledger.budget
        if (b.term, b.window, b.basis, b.phase, b.domain) == ("offset", "measure", "net_loaded", "total", "n0/gpu0")
    ]
    assert gain == [pytest.approx(0.1 * 60 * 295, rel=5e-3)]
    assert offset == [pytest.approx(0.0, abs=1e-6)]


def test_a_window_that_samples_do_not_enclose_is_null() -> None:
    series = read_counter(TRACE, np.arange(75.0, 150.0, 0.05), Refresh(0.1), np.random.default_rng(0))
    assert row(of(counter(), series)).reason == "not_bracketed"


@pytest.mark.parametrize(("seconds", "reason"), [(0.05, "stale_interval"), (0.15, "window_too_short")])
def test_a_window_shorter_than_the_refresh_is_null(seconds: float, reason: str) -> None:
    windows = [Window("measure", 100_000_000_000, int((100 + seconds) * 1e9))]
    assert row(of(counter(), read_counter(TRACE, reads(), Refresh(0.1), np.random.default_rng(0)), windows)).reason == reason


def test_a_counter_that_never_moves_is_no_zero() -> None:
    t = reads()
    assert row(of(counter(), series_of(t, np.full(len(t), 12.0)))).reason == "stuck_sensor"


def test_a_reset_is_bridged_by_the_power_on_both_sides() -> None:
    series = read_counter(TRACE, reads(), Refresh(0.1), np.random.default_rng(0), resets_s=(130.0,))
    ledger = of(counter(wrap=0.0), series)
    assert row(ledger).joules == pytest.approx(24_000.0, rel=2e-3)
    assert any(b.term == "gap" for b in ledger.budget)


def missing(series: Series, a: float, b: float) -> Series:
    keep = (series.t_ns < a * 1e9) | (series.t_ns > b * 1e9)
    return Series(series.t_ns[keep], series.half_width_ns[keep], series.value[keep])


def test_holes_of_more_than_one_percent_are_null_and_others_bridged() -> None:
    series = read_power(TRACE, reads(), Refresh(0.1), 0.1, np.random.default_rng(0))
    assert row(of(power(), missing(series, 120.0, 122.0))).reason == "gap"
    assert row(of(power(), missing(series, 120.0, 120.35))).joules == pytest.approx(24_000.0, rel=5e-3)


def test_a_counter_that_went_unread_has_no_hole() -> None:
    series = read_counter(TRACE, reads(), Refresh(0.1), np.random.default_rng(0))
    assert row(of(counter(), missing(series, 110.0, 150.0))).joules == pytest.approx(24_000.0, rel=2e-3)


def test_wraps_are_undone() -> None:
    series = read_counter(TRACE, reads(), Refresh(0.1), np.random.default_rng(0), wrap_j=5000.0, start_j=4000.0)
    assert row(of(counter(wrap=5000.0, max_power_w=700.0), series)).joules == pytest.approx(24_000.0, rel=2e-3)


def test_peak_power_is_quoted_with_its_averaging_time() -> None:
    figure = row(of(power(), read_power(TRACE, reads(), Refresh(0.1), 0.1, np.random.default_rng(0))))
    assert figure.peak_w == pytest.approx(400.0, rel=1e-6)
    assert figure.peak_averaging_ms == 100.0


def test_an_undeclared_estimate_is_a_span_and_never_a_value() -> None:
    channel = Channel(
        "n0/cpu0/cpu_seconds", "n0/cpu0", "package", "time_counter", "s", "estimated",
        extensions={"x_span_w_per_core_low": 2.0, "x_span_w_per_core_high": 20.0},
    )  # fmt: skip
    t = reads()
    ledger = ledger_of({channel.channel: series_of(t, 1.5 * t)}, None, [channel])
    figure = next(r for r in ledger.energy if (r.window, r.domain, r.phase, r.basis) == ("measure", "total", "total", "gross"))
    assert (figure.joules, figure.u_without_calibration_j, figure.ci_kind, figure.reason, figure.evidence) == (
        None,
        None,
        "span",
        "no_sensor",
        "estimated",
    )
    assert figure.ci_low_j == pytest.approx(60 * 1.5 * 2.0)
    assert figure.ci_high_j == pytest.approx(60 * 1.5 * 20.0)


def bursts(rng: np.random.Generator) -> tuple[PowerTrace, dict[str, Any]]:
    """A minute of 0.5 s prefill at 600 W and 1.5 s decode at 300 W in turns, between idle at 100 W, and the log of its steps."""
    begins = 100.0 + 2.0 * np.arange(30)
    edge = np.concatenate([[0.0], np.column_stack([begins, begins + 0.5]).ravel(), [160.0, 200.0]])
    watts = np.concatenate([[100.0], np.tile([600.0, 300.0], 30), [100.0]])
    t0 = np.column_stack([begins, begins + 0.5]).ravel()
    t1 = np.append(t0[1:], 160.0)
    names = {
        "t0_ns": (t0 * 1e9).astype(np.int64),
        "t1_ns": (t1 * 1e9).astype(np.int64),
        "prefill_tokens": np.tile([800, 0], 30),
        "decode_tokens": np.tile([0, 4], 30),
        "instance": np.full(60, "0"),
    }
    return PowerTrace(edge, watts), names


def test_a_hole_takes_the_power_of_what_ran_in_it() -> None:
    """A prefill of 0.5 s is lost, between decodes: by its sides it would be 300 W, and 150 J of 22,500 J would be missing."""
    rng = np.random.default_rng(3)
    trace, steps = bursts(rng)
    series = missing(read_power(trace, reads(), Refresh(0.1), 0.1, rng, noise_w=1.0), 110.05, 110.55)
    run = MemoryRun("run", {"engine": {"instances": []}}, [power()], WINDOWS, {"n0/gpu0/power": series}, {"steps": steps})
    figure = row(Totals(TotalsConfig()).attribute([run])[0])
    assert figure.joules == pytest.approx(30 * (0.5 * 600 + 1.5 * 300), abs=25.0)
    assert figure.u_without_calibration_j is not None
    assert figure.u_without_calibration_j < 25.0


def test_noise_of_readings_is_what_scatters_while_nothing_runs() -> None:
    """Readings that cover all time add up to the energy however power fluctuates: 5 W of noise in 600 readings of 0.1 s are 12 J."""
    rng = np.random.default_rng(4)
    edge = np.concatenate([[0.0], np.arange(100.0, 160.0, 0.1), [160.0, 200.0]])
    fluctuating = PowerTrace(edge, np.concatenate([[300.0], 400.0 + rng.normal(0, 80, len(edge) - 3), [300.0]]))
    budget = of(power(), read_power(fluctuating, reads(), Refresh(0.1), 0.1, rng, noise_w=5.0)).budget
    noise = [b.du_j for b in budget if (b.term, b.window, b.phase, b.basis, b.domain) == ("noise", "measure", "total", "gross", "n0/gpu0")]
    assert np.sqrt(sum(j**2 for j in noise)) == pytest.approx(5.0 * 0.1 * np.sqrt(600) * 400 / 300, rel=0.3)
