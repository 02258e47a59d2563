"""The estimate's channels: seconds with a sourced span, joules only with a declared model; and its parsers on any bytes."""

from __future__ import annotations

import os
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import LEDGER_KINDS, BadInput, Reason, Unavailable
from tpb_core.testing.meter_context import RecordingContext
from tpb_meter_estimate import EstimateConfig, EstimateMeter, GpuEstimateConfig, GpuEstimateMeter
from tpb_meter_estimate.proc import ProcessTimes, parse_busy_ticks, parse_stat


def test_without_declared_watts_no_channel_enters_the_ledger() -> None:
    channels = EstimateMeter(EstimateConfig(), RecordingContext()).discover()
    assert [c for c in channels if c.kind in LEDGER_KINDS] == []
    engine = channels[0]
    assert (engine.channel, engine.domain, engine.scope, engine.kind, engine.unit) == (
        "n0/cpu",
        "n0/cpu_process",
        "process",
        "time_counter",
        "s",
    )
    assert (engine.extensions["x_span_w_per_core_low"], engine.extensions["x_span_w_per_core_high"]) == (2.0, 15.0)
    assert "128 cores" in engine.extensions["x_span_source"]
    assert {c.evidence for c in channels} == {"estimated"}


def test_a_declared_model_gives_joules_and_no_span() -> None:
    context = RecordingContext()
    meter = EstimateMeter(EstimateConfig(w_per_core=6.0, idle_w=35.0), context)
    channels = {c.channel: c for c in meter.discover()}
    assert not any(key.startswith("x_span") for c in channels.values() for key in c.extensions)
    energy = channels["n0/cpu_process/energy"]
    assert (energy.kind, energy.unit, energy.evidence, energy.domain) == ("energy_counter", "J", "estimated", "n0/cpu_process")
    meter.open()
    meter.engine_started([os.getpid()])
    first = {r.channel: r for r in meter.read()}
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    second = {r.channel: r for r in meter.read()}
    seconds = (second["n0/cpu_process/energy"].t_before_ns - first["n0/cpu_process/energy"].t_before_ns) * 1e-9
    cpu_seconds = second["n0/cpu"].value - first["n0/cpu"].value
    assert cpu_seconds == pytest.approx(0.2, abs=0.05)
    joules = second["n0/cpu_process/energy"].value - first["n0/cpu_process/energy"].value
    assert joules == pytest.approx(35.0 * seconds + 6.0 * cpu_seconds, rel=0.02)
    meter.close()


@pytest.mark.parametrize("options", [
    {"w_per_core": 0.0}, {"w_per_core": -1.0}, {"w_per_core": float("nan")}, {"idle_w": 30.0}, {"w_per_core": 5.0, "idle_w": -1.0},
    {"span_low_w": 0.0}, {"span_low_w": 9.0, "span_high_w": 3.0}, {"span_high_w": float("inf")},
])  # fmt: skip
def test_watts_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        EstimateMeter(EstimateConfig(**options), RecordingContext())  # type: ignore[arg-type]


def test_a_span_of_the_users_own_says_so() -> None:
    channel = EstimateMeter(EstimateConfig(span_low_w=3.0, span_high_w=4.0), RecordingContext()).discover()[0]
    assert "declared by the user" in channel.extensions["x_span_source"]


def test_gpu_estimate_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(Unavailable) as refusal:
        GpuEstimateMeter(GpuEstimateConfig(tdp_w=300.0), RecordingContext()).discover()
    assert refusal.value.reason is Reason.NOT_INSTALLED
    with pytest.raises(BadInput):
        GpuEstimateMeter(GpuEstimateConfig(tdp_w=30.0, idle_w=40.0), RecordingContext()).discover()


@given(st.binary(max_size=200))
def test_stat_on_any_bytes(raw: bytes) -> None:
    times = parse_stat(raw)
    assert times is None or min(times) >= 0
    ticks = parse_busy_ticks(raw)
    assert ticks is None or ticks >= 0


@given(st.binary(max_size=16), st.lists(st.integers(0, 10**9), min_size=20, max_size=50))
def test_stat_of_a_process_with_any_name(name: bytes, numbers: list[int]) -> None:
    tail = b" ".join([b"S", *(str(n).encode() for n in numbers)])
    times = parse_stat(b"17 (" + name + b") " + tail)
    assert times == ProcessTimes(numbers[0], numbers[18], numbers[10] + numbers[11], numbers[12] + numbers[13])


def test_busy_time_leaves_out_idle_iowait_steal_and_guest() -> None:
    assert parse_busy_ticks(b"cpu  100 20 30 4000 50 6 7 800 90 10\ncpu0 1 2 3") == 100 + 20 + 30 + 6 + 7
    assert parse_busy_ticks(b"cpu0 1 2 3 4 5 6 7 8") is None
    assert parse_busy_ticks(b"cpu 1 2 x 4 5 6 7 8") is None
