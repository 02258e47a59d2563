"""How often the stated 95 % interval holds the true energy of a phase that a controller showed once a second: trials in virtual time.

The bytes are those of a controller (DCMI answers, 8-bit sensors), read by the meter through its own parsers. The controller averages over
a second, which the user has characterised and states.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import pytest

from tpb_core.api.clock import Clock
from tpb_core.testing.bmc_double.sensor_records import SimSensor, record
from tpb_core.testing.meter_trials import Trial, run_trial
from tpb_core.testing.power_world import PowerTrace
from tpb_meter_ipmi import IpmiConfig, IpmiMeter
from tpb_meter_ipmi.discovery import Controller
from tpb_meter_ipmi.sdr import parse_record
from tpb_meter_ipmi.sources import Source

REFRESH_S = 1.0
SUPPLIES = [SimSensor("PSU1 Power In", m=2), SimSensor("PSU2 Power In", m=2)]


class Bytes:
    """A session with a controller that refreshes once a second: the mean of the last second, whole watts or steps of the sensors."""

    backend = details = "bytes"

    def __init__(self) -> None:
        self.watts = 60.0

    def request(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        if netfn == 0x04:
            return bytes([SUPPLIES[data[0] - 1].raw(self.watts / 2), 0xC0])
        watts = round(self.watts)
        return struct.pack("<BHHHHIIB", 0xDC, watts, watts, watts, watts, 0, 1000, 0x40)

    def close(self) -> None: ...

    def abort(self) -> None: ...


def trial(seed: int, phase_s: float, sources: list[Source], poll_s: float) -> Trial:
    link = Bytes()
    first_refresh_s = float(np.random.default_rng(seed).uniform(0, REFRESH_S))

    def show(trace: PowerTrace, t_s: float) -> None:
        refreshed_s = np.floor((t_s - first_refresh_s) / REFRESH_S) * REFRESH_S + first_refresh_s
        link.watts = trace.between(refreshed_s - 1.0, refreshed_s)

    def found(config: IpmiConfig, environ: Mapping[str, str], clock: Clock) -> Controller:
        return Controller(link, lambda: link, sources)

    config = IpmiConfig(averaging_ms=1000.0, delay_ms=0.0)
    return run_trial(lambda context: IpmiMeter(config, context, found), show, phase_s=phase_s, seed=seed, domain="n0", poll_s=poll_s)


DCMI = [Source()]
FEEDS = [Source(parse_record(record(sensor, place + 1))) for place, sensor in enumerate(SUPPLIES)]


def holds(trials: list[Trial]) -> float:
    """Share of the trials whose interval holds the truth; no figure counts as held."""
    return float(np.mean([t.holds or t.reason is not None for t in trials]))


@pytest.mark.slow
@pytest.mark.parametrize("phase_s", [0.2, 1.0, 5.0, 30.0])
def test_the_interval_holds_the_truth_or_there_is_no_figure(phase_s: float) -> None:
    # Asked ten times a second, so that the controller's refresh is seen as it happens.
    trials = [trial(seed, phase_s, DCMI, 0.1) for seed in range(300)]
    assert holds(trials) >= 0.92
    if phase_s >= 5.0:
        assert [t.reason for t in trials if t.reason is not None] == []


@pytest.mark.slow
@pytest.mark.parametrize("phase_s", [0.2, 1.0, 5.0, 30.0])
@pytest.mark.parametrize(("sources", "poll_s"), [(DCMI, 1.0), (FEEDS, 1.0), (FEEDS, 0.1)], ids=["dcmi, 1 s", "feeds, 1 s", "feeds, 0.1 s"])
def test_the_interval_holds_the_truth_at_the_default_interval(sources: list[Source], poll_s: float, phase_s: float) -> None:
    # Asked as often as it refreshes; and two feeds of one controller, which see the same power and are late together.
    trials = [trial(seed, phase_s, sources, poll_s) for seed in range(300)]
    assert holds(trials) >= 0.92
    if phase_s >= 5.0:
        assert [t.reason for t in trials if t.reason is not None] == []


def test_the_energy_of_half_a_minute_is_right() -> None:
    # 30 s at 220 W: 6600 J, of which one second's refresh is 3 %
    for seed in range(10):
        for sources in (DCMI, FEEDS):
            found = trial(seed, 30.0, sources, 1.0)
            assert found.joules == pytest.approx(found.truth_j, rel=0.03)
