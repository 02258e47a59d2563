"""The trees that stand in for sysfs: what readers with an open descriptor see, by hand, in real time, and from another process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tpb_core.testing.sysfs_tree import Attribute, HwmonTree, PowercapTree


def test_a_counter_grows_by_its_energy_and_wraps(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    counter = tree.zone("intel-rapl:0", "package-0", 50.0, start_uj=900, range_uj=999_999)
    tree.advance(0.01)  # 0.5 J
    assert (tmp_path / "intel-rapl:0" / "energy_uj").read_text() == "500900\n"
    tree.advance(0.01)
    assert (tmp_path / "intel-rapl:0" / "energy_uj").read_text() == "900\n"
    assert counter.energy_j == pytest.approx(1.0)


def test_power_that_changes_with_time(tmp_path: Path) -> None:
    tree = HwmonTree(tmp_path)
    device = tree.device("hwmon0", "power_meter")
    tree.power(device / "power1_input", lambda t_s: 10.0 + t_s)
    energy = tree.energy(device / "energy1_input", lambda t_s: 10.0 + t_s)
    for _ in range(100):
        tree.advance(0.1)
    assert (device / "power1_input").read_text() == "20000000\n"
    assert energy.energy_j == pytest.approx(10 * 10 + 10**2 / 2)


def test_a_reader_with_an_open_descriptor_sees_each_value(tmp_path: Path) -> None:
    attribute = Attribute(tmp_path / "energy_uj", 99)
    descriptor = os.open(attribute.path, os.O_RDONLY)
    for value in (100, 123_456_789, 7):
        attribute.write(value)
        assert os.pread(descriptor, 64, 0) == f"{value}\n".encode()
    os.close(descriptor)


def test_real_time(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    counter = tree.zone("intel-rapl:0", "package-0", 200.0)
    start = time.monotonic()
    with tree.moving():
        time.sleep(0.3)
    assert counter.energy_j == pytest.approx(200.0 * (time.monotonic() - start), rel=0.1)
    still = counter.energy_j
    time.sleep(0.05)
    assert counter.energy_j == still


def test_the_script_keeps_a_tree_moving(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tpb_core.testing.sysfs_tree", str(tmp_path), "--power", "100", "--packages", "2", "--seconds", "1.0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "meter.rapl.root" in process.stdout.readline()
        file = tmp_path / "intel-rapl:1" / "energy_uj"
        first, started = int(file.read_text()), time.monotonic()
        time.sleep(0.5)
        joules, seconds = (int(file.read_text()) - first) * 1e-6, time.monotonic() - started
    assert joules / seconds == pytest.approx(100.0, rel=0.1)
    assert process.returncode == 0
    assert (tmp_path / "intel-rapl:0:0" / "name").read_text() == "dram\n"
