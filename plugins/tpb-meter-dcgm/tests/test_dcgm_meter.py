"""The DCGM meter on its stand-ins: channels, values, blanks, ends of streams, stale pages, and which way is taken."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tpb_core.api import EventCode, Reading, Reason, Series, Unavailable, Window
from tpb_core.energy.domain_energy import domain_energy
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.testing.dcgm_double import BINDINGS, DcgmGpu, DcgmMachine, Exporter, GraceCpu, install_dcgmi
from tpb_core.testing.memory_run import MemoryRun
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.nvml_double import PowerTrace
from tpb_meter_dcgm import DcgmConfig, DcgmMeter

Build = Callable[..., tuple[DcgmMeter, RecordingContext]]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """A meter on a machine; `way` is `dcgmi`, `bindings`, or an exporter's address."""
    meters: list[DcgmMeter] = []

    def make(machine: DcgmMachine, way: str, environ: dict[str, str] | None = None, **options: Any) -> tuple[DcgmMeter, RecordingContext]:
        path = machine.write(tmp_path / "machine.json")
        monkeypatch.setenv("TPB_DCGM_MACHINE", str(path))
        defaults: dict[str, Any] = {"dcgmi": str(install_dcgmi(tmp_path, path)), "bindings": str(BINDINGS), "interval_ms": 50.0}
        defaults |= {"url": way, "scrape_ms": 20.0} if way.startswith("http") else {"backend": way}
        context = RecordingContext(environ)
        meter = DcgmMeter(DcgmConfig(**(defaults | options)), context)
        meters.append(meter)
        return meter, context

    yield make
    for meter in meters:
        meter.close()


def watch(meter: DcgmMeter, seconds: float) -> list[Reading]:
    readings: list[Reading] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        readings += meter.read()
        time.sleep(0.02)
    return readings


def two_gpus() -> DcgmMachine:
    return DcgmMachine([DcgmGpu("GPU-a", PowerTrace.constant(300)), DcgmGpu("GPU-b", PowerTrace.constant(200), name="Tesla T4")])


@pytest.mark.parametrize("way", ["dcgmi", "bindings"])
def test_channels_are_of_nvmls_sensor_and_domain(build: Build, way: str) -> None:
    meter, _ = build(two_gpus(), way, {"CUDA_VISIBLE_DEVICES": "GPU-a"})
    channels = {c.channel: c for c in meter.discover()}
    energy, instant, usage = (channels[f"n0/gpu0/{name}"] for name in ("dcgm_energy", "dcgm_power", "dcgm_power_usage"))
    assert [(c.domain, c.sensor, c.device, c.role) for c in (energy, instant, usage)] == [
        ("n0/gpu0", "GPU-a", "GPU-a", "primary"),
        ("n0/gpu0", "GPU-a", "GPU-a", "check"),
        ("n0/gpu0", "GPU-a", "GPU-a", "check"),
    ]
    assert (instant.averaging_ms, usage.averaging_ms) == (25.0, 1000.0), "field 155 is the call that averages on Hopper"
    assert channels["n0/gpu1/dcgm_power_usage"].averaging_ms is None, "of a T4 nothing is published"
    assert [channels[f"n0/gpu{n}/dcgm_energy"].allocated for n in (0, 1)] == [True, False]
    assert energy.extensions["x_backend"] == way
    if way != "dcgmi":  # which does not tell it; of this machine it is the kernel module's
        assert energy.extensions["x_driver"] == "570.86.15", "findings of another driver are not used"
    assert energy.extensions["x_precedence"] > 10, "beside NVML it is the check"


def test_grace_sockets_lie_in_modules(build: Build) -> None:
    machine = DcgmMachine([DcgmGpu("GPU-a", PowerTrace.constant(400), name="NVIDIA GH200 480GB")], [GraceCpu()])
    meter, _ = build(machine, "dcgmi")
    places = {c.channel: (c.domain, c.parent, c.scope, c.kind) for c in meter.discover() if c.kind in ("power", "energy_counter")}
    assert places == {
        "n0/module0/dcgm_energy": ("n0/module0", "n0", "module", "energy_counter"),
        "n0/gpu0/dcgm_power": ("n0/gpu0", "n0/module0", "gpu", "power"),
        "n0/gpu0/dcgm_power_usage": ("n0/gpu0", "n0/module0", "gpu", "power"),
        "n0/module0/grace/cpu/dcgm_power": ("n0/module0/grace/cpu", "n0/module0/grace", "package", "power"),
        "n0/module0/grace/sysio/dcgm_power": ("n0/module0/grace/sysio", "n0/module0/grace", "uncore", "power"),
        "n0/module0/dcgm_power": ("n0/module0", "n0", "module", "power"),
    }


@pytest.mark.parametrize("way", ["dcgmi", "bindings"])
def test_values_are_those_of_the_trace_when_they_were_taken(build: Build, way: str) -> None:
    machine = DcgmMachine([DcgmGpu("GPU-a", PowerTrace.steps([(0.6, 100.0), (9, 500.0)]))])
    meter, context = build(machine, way)
    meter.discover()
    meter.open()
    readings = [r for r in watch(meter, 1.2) if r.channel == "n0/gpu0/dcgm_energy"]
    assert len(readings) > 10
    for reading in readings:
        early, late = ((t - context.clock.offset_ns - machine.origin_ns) / 1e9 for t in (reading.t_before_ns, reading.t_after_ns))
        trace = machine.gpus[0].trace
        assert 1000 + trace.energy_j(0, early - 0.01) - 0.01 <= reading.value <= 1000 + trace.energy_j(0, late + 0.01) + 0.01
    assert (readings[0].source_ns is None) is (way == "dcgmi"), "dmon prints no stamps"


def test_headers_come_again_and_blanks_give_no_reading(build: Build) -> None:
    machine = DcgmMachine([DcgmGpu("GPU-a", PowerTrace.constant(300), blank=(156,)), DcgmGpu("GPU-b", PowerTrace.constant(200))])
    meter, context = build(machine, "dcgmi", interval_ms=10.0)
    channels = {c.channel for c in meter.discover()}
    assert "n0/gpu0/dcgm_energy" not in channels
    assert (EventCode.METER_UNAVAILABLE, "n0/gpu0/dcgm_energy") in [(e.code, e.channel) for e in context.events]
    meter.open()
    readings = watch(meter, 0.8)
    assert len([r for r in readings if r.channel == "n0/gpu0/dcgm_power"]) > 28, "over several repeats of the header"
    assert {r.value for r in readings if r.channel == "n0/gpu1/dcgm_power"} == {200.0}
    assert EventCode.METER_ERROR not in context.codes()


def test_zeros_are_dropped_and_counted(build: Build) -> None:
    meter, context = build(DcgmMachine([DcgmGpu("GPU-a", PowerTrace.constant(300), zero_every=4)]), "dcgmi", interval_ms=20.0)
    meter.discover()
    meter.open()
    readings = watch(meter, 0.6)
    assert {r.value for r in readings if r.channel == "n0/gpu0/dcgm_power"} == {300.0}
    meter.close()
    told = [e.message for e in context.events if e.code == EventCode.ZERO_GLITCH and e.channel == "n0/gpu0/dcgm_power"]
    assert told[0] == "a reading of 0 was discarded"
    assert int(told[-1].split()[0]) >= 3


def test_a_stream_that_ends_is_told_and_started_again(build: Build) -> None:
    machine = two_gpus()
    machine.ends_after_s = 0.3
    meter, context = build(machine, "dcgmi")
    meter.discover()
    meter.open()
    watch(meter, 1.2)
    words = [e.message for e in context.events if e.code == EventCode.METER_ERROR]
    assert any("not valid any longer" in word for word in words)
    assert "dcgmi ended with status 235; started again" in words


def test_no_process_and_no_thread_stays(build: Build) -> None:
    import threading

    before = threading.active_count()
    meter, _ = build(two_gpus(), "dcgmi")
    meter.discover()
    meter.open()
    while not watch(meter, 0.1):  # until the program is up, and has its handler of the interrupt
        pass
    assert meter._backend is not None
    process = meter._backend._stream._process  # type: ignore[attr-defined]
    meter.close()
    assert process.returncode == 0, "it ended on the interrupt, not by a kill"
    assert threading.active_count() == before


def test_an_exporter_that_repeats_its_page_says_nothing_new(build: Build) -> None:
    with Exporter(two_gpus(), collect_s=0.3) as exporter:
        meter, _ = build(exporter.machine, exporter.url)
        channels = {c.channel: c for c in meter.discover()}
        assert channels["n0/gpu0/dcgm_energy"].update_ms == pytest.approx(320, abs=60)
        assert channels["n0/gpu0/dcgm_energy"].extensions["x_update_source"] == "seen at start"
        meter.open()
        before = exporter.requests
        readings = [r for r in watch(meter, 1.5) if r.channel == "n0/gpu0/dcgm_energy"]
        assert exporter.requests - before > 20
        assert 3 <= len(readings) <= 7, "one a collection, not one a request"
        for reading in readings[1:]:
            assert reading.t_after_ns - reading.t_before_ns < 0.25e9, "it was collected between two requests"


def test_an_interval_longer_than_the_window_gives_null_and_says_so(build: Build) -> None:
    """The exporter's default is 30 s: a window of 12 s cannot be told from it."""
    with Exporter(two_gpus()) as exporter:
        meter, _ = build(exporter.machine, exporter.url)
        channel = next(c for c in meter.discover() if c.kind == "energy_counter")
    assert (channel.update_ms, channel.extensions["x_update_source"]) == (30_000.0, "assumed: the exporter's default")
    t_ns = np.arange(0, 5) * 30_000_000_000
    series = Series(t_ns, np.full(5, 500_000_000), np.arange(0, 5) * 9_000.0)
    run = MemoryRun(channels=[channel], windows=[Window("measure", 40_000_000_000, 52_000_000_000)], samples={channel.channel: series})
    energy = RunEnergy(run)
    result = domain_energy(energy, energy.tree.domains["n0/gpu0"], run.windows[0], largest_u_share=1.0)
    assert (result.total, result.reason) == (None, Reason.STALE_INTERVAL)


def test_an_exporter_that_changes_and_misbehaves_while_it_is_read(build: Build) -> None:
    machine = two_gpus()
    machine.gpus[1].blank = (156,)
    with Exporter(machine, collect_s=0.05) as exporter:
        meter, context = build(machine, exporter.url)
        channels = {c.channel for c in meter.discover()}
        assert "n0/gpu1/dcgm_energy" not in channels, "9223372036854775794 mJ is no energy"
        meter.open()
        assert watch(meter, 0.4)
        exporter.cut = True
        time.sleep(0.2)
        list(meter.read())
        cut = watch(meter, 0.3)
        assert cut == [], "half a page is no page"
        exporter.cut, exporter.failing = False, True
        time.sleep(0.2)
        list(meter.read())
        assert watch(meter, 0.2) == []
        exporter.failing = False
        assert watch(meter, 0.4)
        exporter.frozen = True
        watch(meter, 1.2)
        words = " ".join(e.message for e in context.events if e.code == EventCode.METER_ERROR)
        assert "IncompleteRead" in words
        assert "500" in words
        assert "repeats the same values" in words


def test_which_way_is_taken(build: Build, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    meter, context = build(two_gpus(), "auto")
    assert meter.discover()[0].extensions["x_backend"] == "dcgmi"
    meter, context = build(two_gpus(), "auto", dcgmi=nowhere)
    assert meter.discover()[0].extensions["x_backend"] == "bindings"
    assert any("dcgm by dcgmi" in e.message for e in context.events if e.code == EventCode.METER_UNAVAILABLE)
    with Exporter(two_gpus(), collect_s=0.1) as exporter:
        meter, _ = build(two_gpus(), exporter.url)
        assert meter.discover()[0].extensions["x_backend"] == "exporter"


def test_what_is_missing_is_said_with_what_to_type(build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = str(tmp_path / "nowhere")
    cases = [
        (build(two_gpus(), "dcgmi", dcgmi=nowhere), Reason.NOT_INSTALLED),
        (build(two_gpus(), "bindings", bindings=nowhere), Reason.NOT_INSTALLED),
        (build(two_gpus(), "http://127.0.0.1:9/metrics"), Reason.UNREACHABLE),
        (build(DcgmMachine(), "dcgmi"), Reason.NO_SENSOR),
    ]
    for (meter, _), reason in cases[:3]:
        with pytest.raises(Unavailable) as caught:
            meter.discover()
        assert (caught.value.reason, bool(caught.value.fix)) == (reason, True)
    with pytest.raises(Unavailable) as empty:
        cases[3][0][0].discover()
    assert empty.value.reason == Reason.NO_SENSOR
    os.unlink(tmp_path / "machine.json")
    for way in ("dcgmi", "bindings"):
        meter, _ = build(two_gpus(), way)
        os.unlink(tmp_path / "machine.json")
        with pytest.raises(Unavailable) as gone:
            meter.discover()
        assert gone.value.reason == Reason.UNREACHABLE


def test_slices_are_refused(build: Build) -> None:
    meter, _ = build(two_gpus(), "dcgmi", {"CUDA_VISIBLE_DEVICES": "MIG-1111"})
    with pytest.raises(Unavailable) as caught:
        meter.discover()
    assert caught.value.reason == Reason.MIG_SLICE
    machine = two_gpus()
    for gpu in machine.gpus:
        gpu.sliced = True
    with Exporter(machine, collect_s=0.1) as exporter:
        meter, _ = build(machine, exporter.url, {"CUDA_VISIBLE_DEVICES": "0"})
        with pytest.raises(Unavailable) as refused:
            meter.discover()
        assert refused.value.reason == Reason.MIG_SLICE


def test_indices_on_a_mixed_machine_are_refused(build: Build) -> None:
    meter, _ = build(two_gpus(), "dcgmi", {"CUDA_VISIBLE_DEVICES": "0"})
    with pytest.raises(Unavailable) as caught:
        meter.discover()
    assert caught.value.reason == Reason.NOT_CONFIGURED
