"""AMD GPUs: resolution applied, counters that lie, dies that share a sensor, visible devices."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import EventCode, MeterContext, Reason, Unavailable
from tpb_core.testing.amdsmi_double import AmdGpu, AmdMachine
from tpb_core.testing.nvml_double import PowerTrace, VirtualClock
from tpb_meter_amdsmi import AmdsmiConfig, AmdsmiMeter
from tpb_meter_amdsmi.counter import energy_j

SECOND = 1_000_000_000
Build = Callable[..., AmdsmiMeter]


class Bench:
    """A machine on virtual time with the meter's events."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.clock = VirtualClock(folder / "clock", start_ns=10 * SECOND)
        self.events: list[tuple[EventCode, str, str | None]] = []
        self._stack = stack

    def meter(self, *gpus: AmdGpu, environ: dict[str, str] | None = None, status: int = 0, **options: Any) -> AmdsmiMeter:
        machine = AmdMachine(list(gpus), status=status, origin_ns=0, now_ns=self.clock.now_ns)
        self._stack.enter_context(machine.importable())
        context = MeterContext(self.clock, "run", lambda *event: self.events.append(event), environ=environ or {})
        meter = AmdsmiMeter(AmdsmiConfig(**options), context)
        self._stack.callback(meter.close)
        return meter

    def codes(self) -> list[EventCode]:
        return [code for code, _, _ in self.events]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


def read(meter: AmdsmiMeter) -> dict[str, float]:
    return {reading.channel: reading.value for reading in meter.read()}


def test_counts_are_multiplied_by_their_resolution(bench: Bench) -> None:
    meter = bench.meter(AmdGpu("u", PowerTrace.constant(500)))
    channels = {c.channel: c for c in meter.discover()}
    assert bench.clock.now_ns() == 11 * SECOND
    assert channels["n0/gpu0/energy"].resolution == pytest.approx(15.259e-6)
    assert (channels["n0/gpu0/energy"].role, channels["n0/gpu0/power"].role) == ("primary", "check")
    (energy,) = (reading for reading in meter.read() if reading.channel == "n0/gpu0/energy")
    assert energy.value == pytest.approx(5000 + 11 * 500, rel=1e-6)
    assert (energy.source_ns, energy.source_clock) == (11 * SECOND, "device")
    assert read(meter)["n0/gpu0/power"] == 500.0
    assert channels["n0/gpu0/power"].averaging_ms is None, "nothing is published"
    assert channels["n0/gpu0/power"].max_power_w == 1125.0


@pytest.mark.parametrize(
    ("row", "joules"),
    [
        ({"energy_accumulator": 1_000_000, "counter_resolution": 15.3, "timestamp": 7}, 15.3),
        ({"power": 1_000_000, "counter_resolution": 15.3, "timestamp": 7}, 15.3),
        ({"energy_accumulator": 0xFFFFFFFFFFFFFFFF, "counter_resolution": 15.3, "timestamp": 7}, None),
        ({"energy_accumulator": "N/A", "counter_resolution": 15.3}, None),
        ({"energy_accumulator": 5, "counter_resolution": 0.0}, None),
        ({}, None),
        (None, None),
    ],
)
def test_rows_of_the_counter(row: object, joules: float | None) -> None:
    found = energy_j(row)
    assert (found and found[0]) == (joules and pytest.approx(joules))


def test_a_frozen_counter_is_left_out_and_power_is_primary(bench: Bench) -> None:
    meter = bench.meter(AmdGpu("u", PowerTrace.constant(300), model="AMD Instinct MI210", power="average", counter_factor=0.0))
    channels = {c.channel: c for c in meter.discover() if c.kind != "gauge"}
    assert {name: c.role for name, c in channels.items()} == {"n0/gpu0/power_average": "primary"}
    assert [(code, channel) for code, _, channel in bench.events] == [(EventCode.STUCK_SENSOR, "n0/gpu0/energy")]


def test_a_counter_that_counts_too_little_is_a_check(bench: Bench) -> None:
    meter = bench.meter(AmdGpu("u", PowerTrace.constant(300), counter_factor=0.3))
    channels = {c.channel: c for c in meter.discover() if c.kind != "gauge"}
    assert {name: c.role for name, c in channels.items()} == {"n0/gpu0/power": "primary", "n0/gpu0/energy": "check"}
    assert channels["n0/gpu0/energy"].extensions["x_counter_over_power"] == pytest.approx(0.3, abs=0.01)
    assert EventCode.METER_DISAGREEMENT in bench.codes()


def test_a_counter_that_freezes_during_the_run_makes_a_hole_not_a_flat_line(bench: Bench) -> None:
    meter = bench.meter(AmdGpu("u", PowerTrace.constant(300), frozen_after_s=15.0))
    meter.discover()
    seen = []
    for _ in range(200):
        seen.append("n0/gpu0/energy" in read(meter))
        bench.clock.advance_s(0.05)
    assert seen[0]
    assert not seen[-1]
    assert seen.count(True) < (15 - 11 + 3.2) * 20
    assert bench.codes().count(EventCode.STUCK_SENSOR) == 1


def test_the_second_die_of_an_mi250x_belongs_to_the_first(bench: Bench) -> None:
    model = "AMD Instinct MI250X"
    dies = [AmdGpu(f"u{n}", PowerTrace.constant(400), model=model, power="average" if n % 2 == 0 else "none") for n in range(4)]
    for die in dies[1::2]:
        die.has_counter = False
    meter = bench.meter(*dies)
    channels = {c.channel: c for c in meter.discover() if c.kind == "energy_counter"}
    assert {name: (c.domain, c.scope, c.allocated, c.share) for name, c in channels.items()} == {
        "n0/module0/energy": ("n0/module0", "module", True, None),
        "n0/module2/energy": ("n0/module2", "module", True, None),
    }
    assert channels["n0/module2/energy"].extensions["x_dies"] == ["u2", "u3"]
    assert channels["n0/module2/energy"].extensions["x_driver"] == "6.12.12", "findings of another driver are not used"


def test_one_die_of_two_is_refused_or_apportioned(bench: Bench) -> None:
    def pair() -> list[AmdGpu]:
        first = AmdGpu("u0", PowerTrace.constant(400), model="AMD Instinct MI250X", power="average")
        return [first, AmdGpu("u1", PowerTrace.constant(400), model="AMD Instinct MI250X", power="none", has_counter=False)]

    environ = {"ROCR_VISIBLE_DEVICES": "1"}
    with pytest.raises(Unavailable) as caught:
        bench.meter(*pair(), environ=environ).discover()
    assert caught.value.reason == Reason.MIG_SLICE
    channels = [c for c in bench.meter(*pair(), environ=environ, partial="share").discover() if c.kind == "energy_counter"]
    assert [(c.share, c.share_method, c.allocated) for c in channels] == [(0.5, "dies", True)]


def test_a_card_without_power_is_no_second_die_of_a_stranger(bench: Bench) -> None:
    gpus = [
        AmdGpu("a", PowerTrace.constant(300), serial="1"),
        AmdGpu("b", PowerTrace.constant(300), serial="2", power="none", has_counter=False),
    ]
    channels = [c for c in bench.meter(*gpus).discover() if c.kind == "energy_counter"]
    assert [(c.domain, c.scope) for c in channels] == [("n0/gpu0", "gpu")]


def test_devices_that_hip_hides_are_not_allocated_and_the_order_is_hips(bench: Bench) -> None:
    gpus = [AmdGpu("late", PowerTrace.constant(300), hip_id=1), AmdGpu("early", PowerTrace.constant(200), hip_id=0)]
    meter = bench.meter(*gpus, environ={"HIP_VISIBLE_DEVICES": "0"})
    found = {c.device: (c.domain, c.allocated) for c in meter.discover() if c.kind == "energy_counter"}
    assert found == {"early": ("n0/gpu0", True), "late": ("n0/gpu1", False)}
    assert EventCode.DEVICE_UNUSED in bench.codes()
    assert {name for name in read(meter) if "temperature" in name} == {"n0/gpu0/temperature"}


def test_gauges_in_their_units_once_a_second(bench: Bench) -> None:
    meter = bench.meter(AmdGpu("u", PowerTrace.constant(300)))
    meter.discover()
    values = read(meter)
    assert {name.rpartition("/")[2]: value for name, value in values.items()} | {"energy": 0} == {
        "energy": 0,
        "power": 300.0,
        "temperature": 61.0,
        "clock_gfx": 2100.0,
        "clock_memory": 1300.0,
        "power_limit": 750.0,
        "utilisation": 97.0,
        "utilisation_memory": 41.0,
    }
    bench.clock.advance_s(0.5)
    assert "n0/gpu0/temperature" not in read(meter)
    bench.clock.advance_s(0.5)
    assert "n0/gpu0/temperature" in read(meter)


def test_strangers_at_window_edges(bench: Bench) -> None:
    meter = bench.meter(AmdGpu("u", PowerTrace.constant(300), processes=[1, os.getpid(), 4_000_002]))
    meter.discover()
    meter.at_window_edge("measure")
    told = [message for code, message, _ in bench.events if code == EventCode.FOREIGN_PROCESS]
    assert [message.split(" (")[0] for message in told] == ["process 1"], "one that is not seen from here may be the engine itself"


@pytest.mark.parametrize(("status", "reason"), [(10, Reason.NO_PERMISSION), (34, Reason.NO_SENSOR), (17, Reason.UNSUPPORTED)])
def test_what_stops_the_library_is_said(bench: Bench, status: int, reason: Reason) -> None:
    with pytest.raises(Unavailable) as caught:
        bench.meter(AmdGpu("u", PowerTrace.constant(300)), status=status).discover()
    assert (caught.value.reason, bool(caught.value.fix)) == (reason, True)


def test_a_machine_without_the_module_or_without_gpus(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable) as empty:
        bench.meter().discover()
    assert empty.value.reason == Reason.NO_SENSOR
    monkeypatch.setitem(__import__("sys").modules, "amdsmi", None)
    with pytest.raises(Unavailable) as missing:
        AmdsmiMeter(AmdsmiConfig(), MeterContext(bench.clock, "run", lambda *event: None)).discover()
    assert missing.value.reason == Reason.NOT_INSTALLED


def test_the_stand_in_has_the_signatures_of_the_real_module(bench: Bench) -> None:
    """Compared where the real package is installed; it cannot be imported without ROCm, so its source is read."""
    try:
        files = importlib.metadata.files("amdsmi") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the package amdsmi is not installed")
    source = next(Path(str(file.locate())) for file in files if file.name == "amdsmi_interface.py")
    real = {
        node.name: [argument.arg for argument in node.args.args]
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    bench.meter(AmdGpu("u", PowerTrace.constant(1)))
    import amdsmi

    for name, function in inspect.getmembers(amdsmi, inspect.isfunction):
        if name.startswith("amdsmi_"):
            assert list(inspect.signature(function).parameters) == real[name], name
