"""Open loops: schedules with the stated rates, sent on the clock and not after the last answer."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_core.api.errors import BadInput
from tpb_core.config.schema import ConstantLoad, GammaLoad, PoissonLoad, RampLoad, TraceLoad
from tpb_core.run.load import LoadShape, make_shape
from tpb_core.run.load.arrivals import gamma, ramp

S = 1_000_000_000


def dues(shape: LoadShape) -> list[int]:
    """When each request is due, on an engine that never answers."""
    shape.begin(0)
    found: list[int] = []
    while (due := shape.next_due_ns()) is not None:
        found += [send.due_ns for send in shape.due(due)]
    return found


def test_a_slow_server_does_not_slow_its_load_down() -> None:
    """No answer ever comes, and the requests are due all the same; a client that wakes up late sends what it missed with its due times."""
    shape = make_shape(ConstantLoad(rate=10, requests=30))
    shape.begin(0)
    assert [send.due_ns for send in shape.due(0)] == [0]
    late = shape.due(S)
    assert [send.due_ns for send in late] == [n * S // 10 for n in range(1, 11)]


def test_constant_rate_ends_with_the_interval_after_its_last_request() -> None:
    shape = make_shape(ConstantLoad(rate=4, requests=8))
    assert dues(shape) == [n * S // 4 for n in range(8)]
    assert shape.end_ns() == 2 * S


@pytest.mark.parametrize("load", [PoissonLoad(rate=5, requests=4000), PoissonLoad(rate=5, requests=1, duration_s=800)])
def test_poisson_has_its_rate_and_exponential_gaps(load: PoissonLoad) -> None:
    shape = make_shape(load, seed=3)
    times = np.array(dues(shape)) / S
    gaps = np.diff(times)
    assert len(times) == pytest.approx(4000, rel=0.05)
    assert gaps.mean() == pytest.approx(0.2, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.06), "the coefficient of variation of an exponential"
    assert (gaps > 0.2).mean() == pytest.approx(np.exp(-1), abs=0.03)


def test_burstiness_is_the_shape_of_the_gaps() -> None:
    for burstiness in (0.25, 4.0):
        gaps = np.diff(gamma(2.0, burstiness, 20_000, None, seed=1)[0])
        assert gaps.mean() == pytest.approx(0.5, rel=0.05)
        assert gaps.std() / gaps.mean() == pytest.approx(burstiness**-0.5, rel=0.05)


def test_a_ramp_sends_three_quarters_in_its_second_half() -> None:
    """From rate 0.001 to 40/s over 100 s: the integrated rate is 20 t^2 / 100, so a quarter of 2,000 falls into the first half."""
    offsets, end_s = ramp(0.001, 40.0, 100.0, seed=2)
    assert end_s == 100.0
    assert len(offsets) == pytest.approx(2000, abs=150)
    assert (offsets < 50).mean() == pytest.approx(0.25, abs=0.03)
    assert (np.diff(offsets) >= 0).all()


def test_the_same_seed_draws_the_same_arrivals_and_another_seed_others() -> None:
    load = GammaLoad(rate=3, burstiness=0.5, requests=50)
    assert dues(make_shape(load, seed=1)) == dues(make_shape(load, seed=1))
    assert dues(make_shape(load, seed=1)) != dues(make_shape(load, seed=2))


def test_a_trace_is_replayed_at_a_scaled_rate() -> None:
    shape = make_shape(TraceLoad(rate_scale=2.0, requests=5))
    shape.use_arrivals([10.0, 12.0, 16.0, 20.0])
    assert dues(shape) == [0, S, 3 * S, 5 * S]
    assert shape.end_ns() == round((5 + 5 / 3) * S), "one mean gap after the last request"


def test_steady_state_begins_when_the_concurrency_of_the_second_half_is_reached() -> None:
    """One request a second, each takes 3.5 s: 3 or 4 are under way from the fourth one on."""
    shape = make_shape(ConstantLoad(rate=1, requests=20))
    shape.begin(0)
    ends: list[tuple[int, int]] = []
    for half_second in range(60):
        now = half_second * S // 2
        for end, position in [ended for ended in ends if ended[0] <= now]:
            ends.remove((end, position))
            shape.finished(end, position)
        ends += [(now + 7 * S // 2, send.requests[0]) for send in shape.due(now)]
    steady = shape.steady()
    assert steady is not None
    assert 2 * S <= steady[0] <= 4 * S
    assert steady[1] == 20 * S


@pytest.mark.parametrize("load", [PoissonLoad(rate=0), GammaLoad(burstiness=-1), RampLoad(duration_s=None), ConstantLoad(duration_s=0)])
def test_impossible_schedules_are_refused(load: PoissonLoad) -> None:
    with pytest.raises(BadInput, match=r"load"):
        make_shape(load)


def test_a_trace_without_arrival_times_is_refused() -> None:
    with pytest.raises(BadInput, match="arrival times"):
        make_shape(TraceLoad()).use_arrivals([None, 1.0])
    with pytest.raises(BadInput, match="order"):
        make_shape(TraceLoad()).use_arrivals([1.0, 0.0])
