"""A power limit set for a run is put back for certain: after its end, after Ctrl-C, and after kill -9 of each of its processes.

On the compiled NVML double, through the real nvidia-ml-py, from the command that a user types.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tpb_core.testing.nvml_double import NvmlDouble
from tpb_core.testing.nvml_double.library import compiler

pytest.importorskip("tpb_meter_nvml")
pytestmark = pytest.mark.skipif(compiler() is None, reason="the NVML double needs a C compiler")

Start = Callable[..., Any]
DEFAULT_W = 700.0


@pytest.fixture
def double(tmp_path: Path) -> NvmlDouble:
    (tmp_path / "machine").mkdir()
    return NvmlDouble(tmp_path / "machine").gpu("h100", uuid="GPU-a").gpu("h100", uuid="GPU-b")


@pytest.fixture
def start_limited(start: Start, double: NvmlDouble, tmp_path: Path) -> Start:
    environ = double.build() | {"CUDA_VISIBLE_DEVICES": "0"}
    words = ["meter=nvml", f"meter.nvml.journal={tmp_path / 'journal'}", "meter.nvml.characterise_s=0", "run.power_limit_w=350"]
    return lambda *more: start(*words, *more, environ=environ)


def limits(double: NvmlDouble) -> list[float]:
    return [double.settings(gpu)[0] for gpu in range(2)]


def test_only_the_devices_of_the_run_are_limited_and_put_back_at_the_end(start_limited: Start, double: NvmlDouble) -> None:
    run = start_limited("load.requests=2", "run.lock_clock_mhz=1200")
    assert run.ended() == 0, run.log.read_text()
    asked = [(uuid, what, float(limit_mw) / 1000, low) for _, uuid, what, limit_mw, low, _ in double.changes()]
    assert {uuid for uuid, *_ in asked} == {"GPU-a"}, "the other GPU belongs to somebody else"
    assert 350.0 in {limit_w for *_, limit_w, _ in asked}
    assert "1200" in {low for *_, low in asked}
    assert (double.settings(0), double.settings(1)) == ((DEFAULT_W, 0, 0), (DEFAULT_W, 0, 0))
    control = run.manifest()["x_power_control"]
    assert control == {"limit_w": 350.0, "lock_clock_mhz": 1200, "effective_limit_w": {"GPU-a": 350.0}}


@pytest.mark.parametrize("victim", ["worker", "sampler_process", "tpb", "ctrl-c"])
def test_whatever_is_killed_the_limit_is_put_back(start_limited: Start, double: NvmlDouble, victim: str) -> None:
    run = start_limited()
    run.until_window("measure")
    assert limits(double) == [350.0, DEFAULT_W]
    children = run.children()
    if victim == "tpb":
        run.process.kill()
    elif victim == "ctrl-c":
        run.process.send_signal(signal.SIGINT)
    else:
        children[victim].kill()
    run.ended()
    assert run.gone(children)
    assert limits(double) == [DEFAULT_W, DEFAULT_W]


def test_a_limit_that_the_device_does_not_take_is_bad_input(start_limited: Start, double: NvmlDouble, tmp_path: Path) -> None:
    run = start_limited("run.power_limit_w=50")
    assert run.ended() == 2
    assert "50 W is outside" in run.log.read_text()
    assert limits(double) == [DEFAULT_W, DEFAULT_W]
    assert list((tmp_path / "runs").glob("2*")) == []


def test_a_limit_without_permission_is_refused(start_limited: Start, double: NvmlDouble) -> None:
    double.permission = "read_only"
    double.rewrite()
    run = start_limited()
    assert run.ended() == 3
    assert "Traceback" not in run.log.read_text()


def test_a_limit_without_a_meter_that_can_set_one_is_refused(start: Start) -> None:
    run = start("meter=acme", "run.power_limit_w=300")
    assert run.ended() == 3
    assert "no meter of this run controls the power" in run.log.read_text()
