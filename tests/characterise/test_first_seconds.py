"""What the first seconds of a channel's own samples show, and that it never replaces what the meter declares."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import Channel
from tpb_core.energy.refresh_seen import refresh_seen, resolution_seen
from tpb_core.run.first_seconds import LENGTH_NS, FirstSeconds, fill_in

MS = 1_000_000


def channel(name: str, kind: str, **more: Any) -> Channel:
    unit = "J" if kind == "energy_counter" else "W"
    return Channel(f"n0/gpu0/{name}", "n0/gpu0", "gpu", kind, unit, "measured", sensor="GPU-1", **more)


def held(period_ms: float, poll_ms: float, seconds: float = 5.0, seed: int = 0) -> tuple[list[int], list[float]]:
    """Reads of a value that is drawn anew every period."""
    rng = random.Random(seed)
    values = [round(rng.uniform(100, 300), 3) for _ in range(int(seconds * 1e3 / period_ms) + 2)]
    t_ms = [k * poll_ms for k in range(int(seconds * 1e3 / poll_ms))]
    return [round(t * MS) for t in t_ms], [values[int(t // period_ms)] for t in t_ms]


def test_a_refresh_of_100_ms_polled_every_17_is_found_with_its_uncertainty() -> None:
    seen = refresh_seen(*held(100, 17))
    assert seen is not None and seen.period_ms is not None and seen.period_u_ms is not None
    assert (seen.p10_ms, seen.p90_ms) == pytest.approx((85, 102), abs=0.01), "gaps are 5 or 6 reads"
    assert abs(seen.period_ms - 100) < 3 * seen.period_u_ms
    assert seen.period_u_ms == pytest.approx(17 / 6**0.5 / seen.gaps)


@pytest.mark.parametrize(("period_ms", "poll_ms"), [(100, 100), (20, 100), (130, 100), (900, 100)])
def test_a_period_that_the_reads_cannot_show_is_none(period_ms: float, poll_ms: float) -> None:
    """Read as slowly as it refreshes, or too few changes in five seconds."""
    seen = refresh_seen(*held(period_ms, poll_ms))
    assert seen is not None
    assert seen.period_ms is None


def test_an_idle_sensor_that_changes_now_and_then_has_no_period() -> None:
    rng = random.Random(1)
    t_ns, value = [k * 20 * MS for k in range(250)], [50.0] * 250
    for k in range(1, 250):
        value[k] = value[k - 1] + (rng.random() < 0.1)
    seen = refresh_seen(t_ns, value)
    assert seen is not None and seen.gaps > 8
    assert seen.period_ms is None


@given(st.lists(st.integers(0, 500), min_size=40, max_size=80), st.sampled_from([0.001, 0.5, 1.0, 8.0]))
def test_a_resolution_is_a_step_of_which_all_values_are_multiples(counts: list[int], step: float) -> None:
    found = resolution_seen([40.0 + count * step for count in counts])
    if found is not None:
        assert round(found / step) >= 1
        assert found / step == pytest.approx(round(found / step), rel=1e-6)
        assert all(
            abs((count - min(counts)) * step / found % 1.0) in (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02)) for count in counts
        )


def test_values_without_a_step_have_no_resolution() -> None:
    rng = random.Random(3)
    assert resolution_seen([rng.gauss(100, 5) for _ in range(200)]) is None


def look(channels: list[Channel], rows: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, Any]]:
    first = FirstSeconds(channels, 0)
    for name, pairs in rows.items():
        for t_ms, value in pairs:
            first.see(f"n0/gpu0/{name}", round(t_ms * MS), 25_000, value)
    return first.looked()


def test_counter_against_integral_and_cost_of_a_reading() -> None:
    """200 W: the counter gives 200 J a second. One that gives half as much is not plausible, and says so."""
    power = [(20.0 * k, 200.0 + k % 7) for k in range(250)]
    mean = sum(value for _, value in power) / len(power)
    for factor, plausible in ((1.0, True), (0.5, False)):
        counter = [(t, factor * mean * t / 1e3) for t, _ in power]
        channels = [channel("energy", "energy_counter", max_power_w=700.0), channel("power", "power", max_power_w=700.0)]
        seen = look(channels, {"power": power, "energy": counter})
        assert seen["n0/gpu0/energy"]["counter_over_integral"] == pytest.approx(factor, rel=0.01)
        assert seen["n0/gpu0/energy"]["plausible"] is plausible
        assert (seen["n0/gpu0/energy"]["problem"] is None) == plausible
        assert seen["n0/gpu0/power"]["reading_us"] == pytest.approx(50.0)
        assert seen["n0/gpu0/power"]["resolution"] is None, "seven levels are too few to tell"


@pytest.mark.parametrize(("value", "told"), [(0.0, "a power of 0 W"), (1200.0, "most that is plausible is 700 W")])
def test_power_out_of_range_is_told(value: float, told: str) -> None:
    rows = [(20.0 * k, 200.0 if k != 5 else value) for k in range(100)]
    seen = look([channel("power", "power", max_power_w=700.0)], {"power": rows})
    assert seen["n0/gpu0/power"]["plausible"] is False
    assert told in seen["n0/gpu0/power"]["problem"]


def test_what_the_meter_declares_stays_and_what_it_left_open_is_filled_in() -> None:
    t_ns, value = held(100, 20)
    rows = {"power": [(t / MS, v) for t, v in zip(t_ns, value, strict=True)]}
    for declared, expected, filled in ((None, 100.0, ["update_ms"]), (90.0, 90.0, [])):
        one = channel("power", "power", update_ms=declared, resolution=0.001)
        row = one.to_json()
        fill_in(row, look([one], rows)["n0/gpu0/power"])
        assert row["update_ms"] == pytest.approx(expected, abs=1.0)
        assert row["x_characterised"]["filled_in"] == filled
        assert row["x_characterised"]["evidence"] == "characterised"
        assert row["resolution"] == 0.001


def test_it_ends_after_five_seconds() -> None:
    first = FirstSeconds([], 10)
    assert not first.over(LENGTH_NS)
    assert first.over(LENGTH_NS + 10)
