"""How often the stated 95 % interval holds the true energy of a phase: virtual time, through the real client and a service on loopback."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tpb_core.testing.bmc_double import redfish_tree as tree
from tpb_core.testing.bmc_double.redfish import PASSWORD, USER, RedfishService
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.meter_trials import Trial, run_trial
from tpb_core.testing.power_world import PowerTrace
from tpb_meter_redfish import RedfishConfig, RedfishMeter

REFRESH_S = 1.0


class Shown:
    """What the service shows at present: refreshed once a second."""

    def __init__(self, service: RedfishService) -> None:
        self.joules, self.watts, self.service = 0.0, 0.0, service

    def trial(self, seed: int, phase_s: float, poll_s: float) -> Trial:
        first_refresh_s = float(np.random.default_rng(seed).uniform(0, REFRESH_S))

        def show(trace: PowerTrace, t_s: float) -> None:
            refreshed_s = np.floor((t_s - first_refresh_s) / REFRESH_S) * REFRESH_S + first_refresh_s
            self.joules = round(float(trace.energy(np.array([max(refreshed_s, 0.0)]))[0]))
            self.watts = trace.between(refreshed_s - 1.0, refreshed_s)

        def meter(context: RecordingContext) -> RedfishMeter:
            context.environ = {"REDFISH_USER": USER, "REDFISH_PASSWORD": PASSWORD}
            return RedfishMeter(RedfishConfig(url=self.service.url, verify_tls=False, averaging_ms=1000.0, delay_ms=0.0), context)

        return run_trial(meter, show, phase_s=phase_s, seed=seed, domain="n0", poll_s=poll_s)


@pytest.fixture
def shown() -> Any:
    with RedfishService() as service:
        yield Shown(service)


@pytest.mark.slow
@pytest.mark.parametrize("phase_s", [0.2, 1.0, 5.0, 30.0])
def test_the_interval_of_an_energy_counter_holds_the_truth_or_there_is_no_figure(shown: Shown, phase_s: float) -> None:
    # Whole joules, refreshed once a second, asked once a second (the default).
    tree.chassis(shown.service.tree, "1", metrics={"EnergyJoules": lambda: shown.joules, "PowerWatts": lambda: shown.watts})
    trials = [shown.trial(seed, phase_s, 1.0) for seed in range(300)]
    assert np.mean([t.holds or t.reason is not None for t in trials]) >= 0.92
    if phase_s >= 5.0:
        assert [t.reason for t in trials if t.reason is not None] == []


def test_the_energy_of_half_a_minute_is_right(shown: Shown) -> None:
    # 30 s at 220 W: 6600 J
    tree.chassis(shown.service.tree, "1", metrics={"EnergyJoules": lambda: shown.joules})
    for seed in range(5):
        found = shown.trial(seed, 30.0, 1.0)
        assert found.joules == pytest.approx(found.truth_j, rel=0.03)


@pytest.mark.slow
def test_ten_real_time_windows() -> None:
    """A counter that follows real time at 200 W: each value is what it showed between the two stamps around its question."""
    context = RecordingContext()
    context.environ = {"REDFISH_USER": USER, "REDFISH_PASSWORD": PASSWORD}
    begin_ns = context.clock.now_ns()

    def joules(t_ns: int) -> float:
        return 200.0 * (t_ns - begin_ns) * 1e-9

    with RedfishService() as service:
        tree.chassis(service.tree, "1", metrics={"EnergyJoules": lambda: round(joules(context.clock.now_ns()), 3)})
        meter = RedfishMeter(RedfishConfig(url=service.url, verify_tls=False, interval_ms=100.0), context)
        (channel,) = (channel for channel in meter.discover() if channel.kind == "energy_counter")
        meter.open()
        readings: dict[int, tuple[int, float]] = {}
        give_up_s = time.monotonic() + 60
        while len(readings) < 11 and time.monotonic() < give_up_s:
            time.sleep(0.05)
            readings |= {r.t_before_ns: (r.t_after_ns, r.value) for r in meter.read() if r.channel == channel.channel}
        meter.close()
    assert len(readings) >= 11
    for before_ns, (after_ns, value) in readings.items():
        assert joules(before_ns) - 0.01 <= value <= joules(after_ns) + 0.01
    values = [value for _, (_, value) in sorted(readings.items())]
    assert all(later > earlier for earlier, later in pairwise(values))
