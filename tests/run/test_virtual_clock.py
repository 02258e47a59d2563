"""Simulated time: timers fire in order, inside the sleep of somebody else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tpb_core.run.clock import VirtualClock


def test_timers_fire_at_their_own_times_while_another_sleeps() -> None:
    clock = VirtualClock(start_ns=0)
    fired: list[tuple[str, int]] = []
    clock.every(30, lambda: fired.append(("slow", clock.now_ns())))
    clock.every(20, lambda: fired.append(("fast", clock.now_ns())))
    clock.sleep_until(65)
    assert fired == [("fast", 20), ("slow", 30), ("fast", 40), ("slow", 60), ("fast", 60)]
    assert clock.now_ns() == 65


@given(st.lists(st.integers(0, 10_000), max_size=30), st.integers(1, 500))
def test_a_timer_fires_once_an_interval_however_time_is_cut(stops: list[int], interval: int) -> None:
    clock = VirtualClock(start_ns=0)
    fired: list[int] = []
    clock.every(interval, lambda: fired.append(clock.now_ns()))
    for stop in sorted(stops):
        clock.sleep_until(stop)
    end = max(stops, default=0)
    assert fired == list(range(interval, end + 1, interval))


def test_time_never_goes_back() -> None:
    clock = VirtualClock(start_ns=100)
    clock.sleep_until(50)
    assert clock.now_ns() == 100
