"""`tpb characterise` and `tpb calibrate` in real time on doubles, through the sampler process: the NVML double with a trace whose edges are
known, and hwmon files that follow what the load's own processes do."""

from __future__ import annotations

import collections
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest

from tpb_core.cli import calibrate, characterise, doctor
from tpb_core.config.compose import compose
from tpb_core.energy.characterisation import fit_response
from tpb_core.energy.drive import Drive
from tpb_core.energy.switched import load_slices, raw_observations
from tpb_core.run.characterise.findings import timing_findings
from tpb_core.run.characterise.schedule import on_and_off
from tpb_core.run.device_store import DeviceStore, Finding
from tpb_core.run.program import Duration
from tpb_core.run.session import observe
from tpb_core.store.bundle import Bundle
from tpb_core.testing.nvml_double import NvmlDouble, PowerTrace
from tpb_core.testing.nvml_double.library import compiler
from tpb_core.testing.sysfs_tree import HwmonTree

LENGTH_S = 20.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
def test_the_nvml_double_is_characterised_and_the_next_run_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown model: window 60 ms, refresh 70 ms, 40 ms late. Nothing of this is in any table."""
    schedule = on_and_off(LENGTH_S, seed=3)
    parts = [(part.seconds, 100.0 + 400.0 * part.level) for part in schedule]
    period_s = sum(seconds for seconds, _ in parts)
    trace = PowerTrace(PowerTrace.steps(parts).levels, period_s)
    (tmp_path / "machine").mkdir()
    double = NvmlDouble(tmp_path / "machine")
    double.gpu(
        "h100", trace, name="NVIDIA Test Board", noise_w=2.0, window_ms=60.0, refresh_ms=70.0, counter_refresh_ms=70.0, delay_ms=40.0
    )
    for key, value in double.build().items():
        monkeypatch.setenv(key, value)
    words = ["+meter=nvml", "meter.nvml.interval_ms=10", f"meter.nvml.journal={tmp_path}/journal"]
    point = dataclasses.replace(compose(words), attributors=[])
    bundle = Bundle.open(observe(point, Duration({"name": "nothing"}, LENGTH_S)).bundle)
    channel = next(channel for channel in bundle.channels if channel.channel == "n0/gpu0/power")
    assert channel.averaging_ms is None

    seen = raw_observations(bundle, channel, double.origin_ns)
    assert seen is not None
    turns = np.arange(0.0, seen.last_read_s, period_s)
    edges = (turns[:, None] + np.cumsum([seconds for seconds, _ in parts])[None, :-1]).ravel()
    edges = edges[(edges > seen.first_read_s) & (edges < seen.last_read_s)]
    found = fit_response(seen, Drive.of_switching(edges, on_first=trace.power_w(float(edges[0]) - 1e-6) > 200), seed=1)
    assert found.reason is None
    assert found.averaging_s is not None and found.averaging_u_s is not None
    assert abs(found.averaging_s - 0.060) < max(3 * found.averaging_u_s, 0.006)
    assert found.averaging_u_s < 0.02
    assert found.delay_s is not None and found.delay_u_s is not None
    assert abs(found.delay_s - 0.040) < max(3 * found.delay_u_s, 0.01)
    rows = {row["channel"]: row for row in bundle.manifest["channels"]}
    first = rows["n0/gpu0/power"]["x_characterised"]
    assert first["plausible"] is True
    assert first["refresh"]["period_ms"] == pytest.approx(70, rel=0.05)
    assert rows["n0/gpu0/energy"]["x_characterised"]["counter_over_integral"] == pytest.approx(1, abs=0.2)

    DeviceStore().add(timing_findings(bundle, {"n0/gpu0/power": found}))
    later = Bundle.open(observe(point, Duration({"name": "nothing"}, 0.2)).bundle)
    channel = next(channel for channel in later.channels if channel.channel == "n0/gpu0/power")
    assert channel.averaging_ms == pytest.approx(1e3 * found.averaging_s, abs=0.01)
    assert channel.calibration is not None and channel.calibration["source"] == "characterised"
    double.driver = "999.1"
    double.rewrite()
    other = Bundle.open(observe(point, Duration({"name": "nothing"}, 0.2)).bundle)
    assert next(channel for channel in other.channels if channel.channel == "n0/gpu0/power").averaging_ms is None


class FollowingTree:
    """hwmon files of a node whose power follows the processor time of this process's busy grandchildren: 60 W and 40 W a busy process.

    `fast` shows it 50 ms late and averaged over 200 ms; `reference` is averaged over 200 ms as well, 10 % and 5 W higher.
    """

    def __init__(self, root: Path) -> None:
        self._history: collections.deque[tuple[float, float]] = collections.deque(maxlen=400)
        self._busy: dict[int, float] = {}
        self.tree = HwmonTree(root)
        fast = self.tree.device("hwmon1", "power_meter", power1_label="fast")
        reference = self.tree.device("hwmon2", "wall", power1_label="wall")
        self.tree.power(fast / "power1_average", lambda t_s: self._mean(t_s, 0.05), per_watt=1e6)
        self.tree.power(reference / "power1_average", lambda t_s: 5 + 1.1 * self._mean(t_s, 0.05), per_watt=1e6)

    def _mean(self, t_s: float, late_s: float) -> float:
        self._look(t_s)
        inside = [watts for at_s, watts in self._history if t_s - late_s - 0.2 < at_s <= t_s - late_s]
        return sum(inside) / len(inside) if inside else 60.0

    def _look(self, t_s: float) -> None:
        if self._history and t_s - self._history[-1][0] < 0.004:
            return
        running = sum(1 for process in busy_processes() if process.status() != psutil.STATUS_STOPPED)
        self._history.append((t_s, 60.0 + 40.0 * running))


def busy_processes() -> Iterator[psutil.Process]:
    for child in psutil.Process().children():
        try:
            if "burn = True" in " ".join(child.cmdline()):
                yield child
        except psutil.NoSuchProcess:
            continue


BURN = f"{sys.executable} -c 'burn = True\nwhile burn: sum(range(1000))'"


def test_characterise_and_calibrate_follow_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole command, twice: a command of the user's is stopped and continued, in pulses for levels in between."""
    following = FollowingTree(tmp_path / "hwmon")
    words = ["+meter=hwmon", f"meter.hwmon.root={tmp_path}/hwmon", "meter.hwmon.interval_ms=20"]
    words += ["meter.hwmon.scopes={power_meter/power1: node, wall/wall: 'node:check@node'}"]
    with following.tree.moving(0.004):
        assert characterise.main([*words, "--load", BURN, "--for", "15s"]) == 0
        said = capsys.readouterr().out
        assert "Kept for later runs" in said
        assert not list(busy_processes()), "the load is gone"
        kept = {finding.tail: finding for finding in DeviceStore().all()}
        timing = next(finding for tail, finding in kept.items() if "power1" in tail and "wall" not in tail)
        assert abs(timing.values["averaging_ms"] - 200) < max(3 * timing.values["averaging_u_ms"], 25)
        assert abs(timing.values["delay_ms"] - 50) < max(3 * timing.values["delay_u_ms"], 25)

        run = Bundle.open(next((tmp_path / "runs").glob("2*")))
        slices = load_slices(run)
        assert {part.level for part in slices} == {0.0, 1.0}
        assert all(before.t1_ns == after.t0_ns for before, after in pairwise(slices))
        names = {channel.channel: channel for channel in run.channels}
        reference = next(name for name, channel in names.items() if "wall" in (channel.sensor or ""))
        target = next(name for name in names if name != reference)
        words += ["--reference", reference, "--channel", target, "--reference-u", "1%"]
        assert calibrate.main([*words, "--load", BURN, "--for", "21s"]) == 0
    said = capsys.readouterr().out
    gain = next(finding for finding in DeviceStore().all() if finding.source == "calibrated")
    assert "6 levels" in said or "5 levels" in said
    assert gain.values["gain"] == pytest.approx(1.1, abs=max(3 * 1.1 * gain.values["gain_u_rel"], 0.02))
    assert gain.values["gain_u_rel"] >= 0.01, "never better than the reference"
    assert gain.values["offset_w"] == pytest.approx(5.0, abs=max(3 * gain.values["offset_u_w"], 1.5))


def test_a_session_that_is_killed_leaves_no_load_behind(tmp_path: Path) -> None:
    """SIGKILL: the sampler ends the load and finishes the bundle."""
    command = [sys.executable, "-m", "tpb_core.cli.main", "characterise", "+meter=estimate", "--for", "60s"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    load: list[psutil.Process] = []
    give_up_s = time.monotonic() + 40
    while not load and time.monotonic() < give_up_s:
        time.sleep(0.1)
        load = [child for child in psutil.Process(process.pid).children() if "shared = mmap" in " ".join(child.cmdline())]
    time.sleep(2.0)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(load, timeout=20)
    assert load and not alive
    (bundle,) = (tmp_path / "runs").glob("2*")
    while json.loads((bundle / "manifest.json").read_text())["status"] == "running" and time.monotonic() < give_up_s + 30:
        time.sleep(0.1)
    assert Bundle.open(bundle).manifest["status"] == "partial"


def test_doctor_says_what_is_known_of_the_sensors_here(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"averaging_ms": 26.0, "averaging_u_ms": 1.0, "delay_ms": 14.0, "delay_u_ms": 6.0}
    finding = Finding("GPU-1", "nvml", "power", "580.95", "characterised", "2026-11-21T00:00:00Z", values, "60 edges")
    (path,) = DeviceStore().add([finding])
    doctor._print_findings()
    said = " ".join(capsys.readouterr().out.split())
    assert str(path.parent) in said
    for word in ("nvml: power of GPU-1", "characterised 2026-11-21", "averaging_ms 26", "driver 580.95", "60 edges"):
        assert word in said
