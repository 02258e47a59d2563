"""How often the stated 95 % interval holds the true energy of a phase that hwmon sensors read at 10 Hz, in virtual time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.meter_trials import Trial, run_trial
from tpb_core.testing.power_world import PowerTrace
from tpb_core.testing.sysfs_tree import Attribute, HwmonTree
from tpb_meter_hwmon import HwmonConfig, HwmonMeter

SENSORS = {"acpi": 1.0, "grace": 0.05, "jetson": 0.02}
"""Averaging time of each sensor class in seconds; each is refreshed as often."""


def sensor(kind: str, folder: Path) -> tuple[str, Callable[[float], None]]:
    """(domain, how to set its power in watts) of a sensor in a tree of its own."""
    tree = HwmonTree(folder)
    if kind == "jetson":
        device = tree.device("hwmon0", "ina3221", update_interval=20, in1_label="VDD_IN", in1_input=5000, curr1_input=1)
        current = Attribute(device / "curr1_input", 1)
        return "n0/module0", lambda watts: current.write(round(watts / 5.0 * 1000))
    oem, domain = ("Meter measures total domain", "n0") if kind == "acpi" else ("Module Power Socket 0", "n0/module0")
    averaging_ms = round(SENSORS[kind] * 1000)
    device = tree.device("hwmon0", "power_meter", power1_average=1, power1_average_interval=averaging_ms, power1_oem_info=oem)
    power = Attribute(device / "power1_average", 1)
    quantum_w = 1.0 if kind == "acpi" else 0.001
    return domain, lambda watts: power.write(round(round(watts / quantum_w) * quantum_w * 1e6))


def trial(kind: str, folder: Path, seed: int, phase_s: float) -> Trial:
    """One trial of a sensor that shows the mean over its averaging time, refreshed as often."""
    domain, set_power = sensor(kind, folder)
    window_s = SENSORS[kind]
    first_refresh_s = float(np.random.default_rng(seed).uniform(0, window_s))

    def show(trace: PowerTrace, t_s: float) -> None:
        refreshed_s = np.floor((t_s - first_refresh_s) / window_s) * window_s + first_refresh_s
        energy = trace.energy(np.array([refreshed_s - window_s, refreshed_s]))
        set_power(float(energy[1] - energy[0]) / window_s)

    config = HwmonConfig(root=str(folder))
    return run_trial(lambda context: HwmonMeter(config, context), show, phase_s=phase_s, seed=seed, domain=domain)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SENSORS)
@pytest.mark.parametrize("phase_s", [0.2, 1.0, 5.0, 30.0])
def test_the_interval_holds_the_truth_or_the_figure_is_null(tmp_path: Path, kind: str, phase_s: float) -> None:
    trials = [trial(kind, tmp_path / str(seed), seed, phase_s) for seed in range(300)]
    answered = [t for t in trials if t.joules is not None]
    if phase_s >= max(5.0, 5 * SENSORS[kind]):
        assert len(answered) == 300, {t.reason for t in trials}
    if answered:
        assert np.mean([t.holds for t in answered]) >= 0.92


@pytest.mark.parametrize("kind", SENSORS)
def test_the_energy_of_a_phase_is_right(tmp_path: Path, kind: str) -> None:
    # 15 trials of 10 s: 2200 J each, every one within 2 %; a one-second average too, because its delay and width are taken out.
    for seed in range(15):
        found = trial(kind, tmp_path / str(seed), seed, 10.0)
        assert found.joules == pytest.approx(found.truth_j, rel=0.02)


@pytest.mark.slow
def test_ten_real_time_windows(tmp_path: Path) -> None:
    """A counter and a power that follow real time, another power in each of ten windows: what is read is the true integral."""
    tree = HwmonTree(tmp_path)
    device = tree.device("hwmon0", "power_meter", power1_oem_info="Module Power Socket 0", energy1_label="Module Power Socket 0")
    energy = tree.energy(device / "energy1_input", 40.0)
    power = tree.power(device / "power1_input", 40.0)
    meter = HwmonMeter(HwmonConfig(root=str(tmp_path)), RecordingContext())
    units = {channel.channel: channel.unit for channel in meter.discover()}
    assert sorted(units.values()) == ["J", "W"]
    meter.open()
    last_s, truth_j = time.monotonic(), 0.0
    for window in range(10):
        energy.watts = power.watts = watts = 40.0 + 20.0 * window
        for _ in range(10):
            time.sleep(0.03)
            now_s = time.monotonic()
            tree.advance(now_s - last_s)
            truth_j, last_s = truth_j + watts * (now_s - last_s), now_s
            read = {units[reading.channel]: reading.value for reading in meter.read()}
            assert read == {"J": pytest.approx(truth_j, abs=2e-6), "W": pytest.approx(watts)}
    meter.close()
    assert truth_j > 100
