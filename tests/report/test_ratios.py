"""Ratios and their intervals, worked out by hand from budget rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tpb_core.report.comparison.log_figure import LogFigure, Part, log_figure
from tpb_core.report.comparison.ratio import NO_UNCERTAINTY, ONE_RUN, counted_ratio, ratio_of

Z = 1.959963984540054
GAIN = 0.037


def figure(joules: float, *terms: tuple[str, str, float, bool], calibrated: bool = True) -> LogFigure:
    """J over one token with terms in joules; (term, source, du_j, calibration)."""
    parts = [((term, source), Part(du, None, calibration)) for term, source, du, calibration in terms]
    found = log_figure(joules, 1.0, parts, calibrated=calibrated)
    assert found is not None
    return found


def gain(joules: float, sensor: str) -> tuple[str, str, float, bool]:
    return ("gain", sensor, GAIN * joules, True)


def test_the_gain_of_one_sensor_cancels_and_the_rest_adds_in_quadrature() -> None:
    base = figure(100.0, gain(100.0, "GPU-1"), ("edges", "a/1", 1.0, False))
    other = figure(200.0, gain(200.0, "GPU-1"), ("edges", "b/1", 1.0, False))
    ratio = ratio_of([base], [other])
    u = math.hypot(0.01, 0.005)
    assert ratio.value == pytest.approx(2.0)
    assert ratio.within is not None and ratio.total is not None
    assert ratio.total.u_log == pytest.approx(u) == pytest.approx(ratio.within.u_log)
    assert (ratio.total.low, ratio.total.high) == pytest.approx((2 * math.exp(-Z * u), 2 * math.exp(Z * u)))
    assert not ratio.total.holds_one


def test_gains_of_two_sensors_add_to_root_two() -> None:
    ratio = ratio_of([figure(100.0, gain(100.0, "GPU-1"))], [figure(105.0, gain(105.0, "GPU-2"))])
    assert ratio.within is not None and ratio.within.u_log == 0.0
    assert ratio.total is not None
    assert ratio.total.u_log == pytest.approx(math.sqrt(2) * GAIN)  # 5.23 %
    assert ratio.total.holds_one  # 5 % apart cannot be told


def test_gains_of_one_model_cancel_in_part() -> None:
    def card(joules: float, sensor: str) -> LogFigure:
        common, own = math.sqrt(0.4) * GAIN * joules, math.sqrt(0.6) * GAIN * joules
        return figure(joules, ("gain", "model H", common, True), ("gain", sensor, own, True))

    ratio = ratio_of([card(100.0, "GPU-1")], [card(300.0, "GPU-2")])
    assert ratio.total is not None
    assert ratio.total.u_log == pytest.approx(GAIN * math.sqrt(2 * 0.6))  # 4.05 %


def test_an_offset_of_one_sensor_stays_as_far_as_the_powers_differ() -> None:
    base = figure(1000.0, ("offset", "GPU-1", 59.0, True))  # 5.9 W over 10 s of 100 W
    other = figure(2000.0, ("offset", "GPU-1", 59.0, True))  # 5.9 W over 10 s of 200 W
    ratio = ratio_of([base], [other])
    assert ratio.total is not None
    assert ratio.total.u_log == pytest.approx(0.059 - 0.0295)
    assert ratio.contributions[("offset", "GPU-1")] == pytest.approx(-0.0295)


def test_equal_terms_of_other_sources_do_not_cancel() -> None:
    ratio = ratio_of([figure(10.0, ("edges", "a/1", 0.3, False))], [figure(10.0, ("edges", "b/1", 0.4, False))])
    assert ratio.within is not None and ratio.within.u_log == pytest.approx(0.05)


def test_degrees_of_freedom_by_welch_and_satterthwaite() -> None:
    base = log_figure(100.0, 1.0, [(("sampling", "a/1"), Part(3.0, 4.0))])
    other = log_figure(100.0, 1.0, [(("sampling", "b/1"), Part(4.0, 9.0))])
    assert base is not None and other is not None
    ratio = ratio_of([base], [other])
    dof = 0.05**4 / (0.03**4 / 4 + 0.04**4 / 9)
    assert ratio.within is not None and ratio.within.dof == pytest.approx(dof)
    assert ratio.within.high == pytest.approx(math.exp(stats.t.ppf(0.975, dof) * 0.05), rel=1e-4)


def test_pairs_use_the_spread_of_their_differences() -> None:
    base = [LogFigure(level) for level in (0.0, 5.0, -3.0)]
    other = [LogFigure(level) for level in (0.1, 5.2, -2.7)]
    ratio = ratio_of(base, other, paired=True)
    assert ratio.value == pytest.approx(math.exp(0.2))
    half = 4.302652729911275 * 0.1 / math.sqrt(3)
    assert ratio.within is not None
    assert (math.log(ratio.within.low), math.log(ratio.within.high)) == pytest.approx((0.2 - half, 0.2 + half))


def test_independent_repeats_use_the_spread_of_each_group() -> None:
    ratio = ratio_of([LogFigure(0.0), LogFigure(0.2)], [LogFigure(1.0), LogFigure(1.4)])
    u = math.hypot(0.1, 0.2)
    dof = u**4 / (0.1**4 + 0.2**4)
    assert ratio.within is not None
    assert ratio.within.u_log == pytest.approx(u)
    assert ratio.within.dof == pytest.approx(dof)


def test_repeats_show_what_happens_once_but_not_what_they_share() -> None:
    """Four runs: an error of one sensor's stamps is in all of A and none of B; what happened once in each run is in their spread."""
    base = [figure(100.0, ("stamps", "GPU-1", 2.0, False), ("edges", f"a{n}/1", 50.0, False)) for n in range(2)]
    other = [figure(100.0, ("edges", f"b{n}/1", 50.0, False)) for n in range(2)]
    ratio = ratio_of(base, other)
    assert ratio.within is not None and ratio.within.u_log == pytest.approx(0.02)


def test_without_calibration_data_there_is_no_total_interval() -> None:
    ratio = ratio_of([figure(100.0, ("edges", "a/1", 1.0, False), calibrated=False)], [figure(200.0, gain(200.0, "GPU-2"))])
    assert ratio.within is not None
    assert ratio.total is None and ratio.total_reason == "no_calibration_data"


def test_a_figure_without_any_uncertainty_has_a_ratio_and_no_interval() -> None:
    ratio = ratio_of([LogFigure(0.0, stated=False)], [figure(2.0)])
    assert ratio.value == pytest.approx(2.0)
    assert ratio.within is None and ratio.total is None and ratio.within_reason == NO_UNCERTAINTY


def test_counts_and_times_have_intervals_between_runs_only() -> None:
    alone = counted_ratio([10.0], [20.0])
    assert alone.value == pytest.approx(2.0) and alone.within is None and alone.within_reason == ONE_RUN
    assert counted_ratio([10.0, 11.0], [20.0, 22.0]).within is not None
    assert counted_ratio([0.0], [1.0]).reason == "not_positive"


def test_energies_that_are_not_positive_have_no_logarithm() -> None:
    assert log_figure(-1.0, 10.0, []) is None
    assert log_figure(1.0, 0.0, []) is None


@pytest.mark.parametrize(("runs", "one_sensor"), [(1, True), (1, False), (5, True), (5, False)])
def test_total_intervals_hold_the_true_ratio_as_often_as_they_say(runs: int, one_sensor: bool) -> None:
    """Gains of two sensors of one model (r = 0.4) and errors of single runs are drawn; 95 % of 3,000 intervals hold, within 3 s.d."""
    draw, trials, held = np.random.default_rng(7), 3000, 0
    common, own, once = math.sqrt(0.4) * GAIN, math.sqrt(0.6) * GAIN, 0.02
    for _ in range(trials):
        shared, first, second = draw.normal(size=3)
        groups = []
        for sensor, mine, truth in (("GPU-1", first, 100.0), ("GPU-1" if one_sensor else "GPU-2", first if one_sensor else second, 80.0)):
            errors = [common * shared + own * mine + once * draw.normal() for _ in range(runs)]
            gains = [("gain", "model H", common * truth, True), ("gain", sensor, own * truth, True)]
            groups.append(
                [figure(truth * math.exp(e), *gains, ("edges", f"{truth}/{n}", once * truth, False)) for n, e in enumerate(errors)]
            )
        total = ratio_of(groups[0], groups[1]).total
        assert total is not None
        held += total.low <= 0.8 <= total.high
    assert abs(held / trials - 0.95) < 3 * math.sqrt(0.05 * 0.95 / trials) + 0.004


_keys = st.tuples(st.sampled_from(["gain", "offset", "edges"]), st.sampled_from(["GPU-1", "GPU-2", "a/1", "b/1"]))
_parts = st.dictionaries(
    _keys,
    st.builds(Part, st.floats(-0.2, 0.2), st.none() | st.floats(1.0, 50.0), st.booleans()),
    max_size=6,
).map(lambda parts: {key: Part(part.du, part.dof, key[0] != "edges") for key, part in parts.items()})
_figures = st.builds(LogFigure, st.floats(-5.0, 5.0), _parts)


@given(st.lists(_figures, min_size=1, max_size=4), st.lists(_figures, min_size=1, max_size=4), st.booleans())
def test_a_over_b_is_the_inverse_of_b_over_a(base: list[LogFigure], other: list[LogFigure], paired: bool) -> None:
    forth, back = ratio_of(base, other, paired=paired), ratio_of(other, base, paired=paired).inverse()
    assert forth.value == pytest.approx(back.value)
    for mine, theirs in ((forth.within, back.within), (forth.total, back.total)):
        assert mine is not None and theirs is not None
        assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)
        assert mine.u_log == pytest.approx(theirs.u_log)
    assert forth.within is not None and forth.total is not None
    assert forth.within.u_log <= forth.total.u_log + 1e-12


@given(_figures)
def test_what_is_wholly_shared_cancels(one: LogFigure) -> None:
    ratio = ratio_of([one], [LogFigure(one.log + 1.0, one.parts)])
    assert ratio.total is not None and ratio.total.u_log == 0.0
    assert ratio.value == pytest.approx(math.e)
