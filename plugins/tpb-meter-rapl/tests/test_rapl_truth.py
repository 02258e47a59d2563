"""How often the stated 95 % interval holds the true energy of a phase that RAPL read at 10 Hz: 300 trials in virtual time a length."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.meter_trials import Trial, run_trial
from tpb_core.testing.power_world import PowerTrace
from tpb_core.testing.sysfs_tree import RANGE_UJ, PowercapTree
from tpb_meter_rapl import RaplConfig, RaplMeter

REFRESH_S = 1e-3
STEP_J = 2.0**-14


def trial(folder: Path, seed: int, phase_s: float) -> Trial:
    """A package counter that is refreshed every millisecond in steps of 61 uJ and wraps in the middle of the trial."""
    zone = PowercapTree(folder).zone("intel-rapl:0", "package-0", 0.0, start_uj=RANGE_UJ - 300_000_000, limit_w=250.0)
    first_refresh_s = float(np.random.default_rng(seed).uniform(0, REFRESH_S))

    def show(trace: PowerTrace, t_s: float) -> None:
        refreshed_s = np.floor((t_s - first_refresh_s) / REFRESH_S) * REFRESH_S + first_refresh_s
        energy_j = float(trace.energy(np.array([max(refreshed_s, 0.0)]))[0])
        zone.energy_j = np.floor(energy_j / STEP_J) * STEP_J
        zone.attribute.write(zone.value_uj)

    config = RaplConfig(root=str(folder), perf_root=str(folder / "no-perf"))
    return run_trial(lambda context: RaplMeter(config, context), show, phase_s=phase_s, seed=seed, domain="n0/cpu0")


@pytest.mark.slow
@pytest.mark.parametrize("phase_s", [0.2, 1.0, 5.0, 30.0])
def test_the_interval_holds_the_truth(tmp_path: Path, phase_s: float) -> None:
    trials = [trial(tmp_path / str(seed), seed, phase_s) for seed in range(300)]
    assert [t.reason for t in trials if t.reason is not None] == [], "a counter refreshed every millisecond resolves each of these"
    assert np.mean([t.holds for t in trials]) >= 0.92


def test_the_energy_of_a_phase_is_right(tmp_path: Path) -> None:
    # 20 trials of 5 s: 1100 J each; every one within 0.2 %, through a wrap of the counter.
    for seed in range(20):
        found = trial(tmp_path / str(seed), seed, 5.0)
        assert found.joules == pytest.approx(found.truth_j, rel=0.002)


@pytest.mark.slow
def test_ten_real_time_windows(tmp_path: Path) -> None:
    """A counter that follows real time, another power in each of ten windows, through its end: what is read is the true integral."""
    tree = PowercapTree(tmp_path)
    zone = tree.zone("intel-rapl:0", "package-0", 20.0, start_uj=RANGE_UJ - 60_000_000, limit_w=250.0)
    meter = RaplMeter(RaplConfig(root=str(tmp_path), perf_root=str(tmp_path / "no-perf")), RecordingContext())
    (channel,) = (channel for channel in meter.discover() if channel.kind == "energy_counter")
    assert channel.wrap == pytest.approx(RANGE_UJ * 1e-6, rel=1e-6)
    meter.open()
    (first,) = meter.read()
    values, truths_j, last_s = [first.value], [0.0], time.monotonic()
    for window in range(10):
        zone.watts = watts = 20.0 + 15.0 * window
        for _ in range(10):
            time.sleep(0.03)
            now_s = time.monotonic()
            tree.advance(now_s - last_s)
            truths_j.append(truths_j[-1] + watts * (now_s - last_s))
            last_s = now_s
            values += [reading.value for reading in meter.read()]
    meter.close()
    wraps_j = np.cumsum(np.diff(values, prepend=values[0]) < 0) * (RANGE_UJ + 1) * 1e-6
    assert np.array(values) + wraps_j - values[0] == pytest.approx(np.array(truths_j), abs=5e-6)
    assert wraps_j[-1] > 0, "60 J before its end, and some 250 J were counted"
