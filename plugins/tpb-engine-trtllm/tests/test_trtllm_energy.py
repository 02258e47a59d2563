"""The meter `trtllm_energy` under the conformance suite of meters, and what it does with servers that have no counter or start again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import EventCode, Reason, Unavailable
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.meter_suite import MeterSuite
from tpb_engine_trtllm import TrtllmEnergyConfig, TrtllmEnergyMeter


@pytest.fixture(scope="module")
def counting(served: Any, model: Path) -> Iterator[str]:
    """A server whose GPUs draw 250 W."""
    with served.serving(model, energy_w=250.0) as url:
        yield url


class TestTrtllmEnergy(MeterSuite):
    @pytest.fixture
    def case(self, counting: str) -> MeterCase:
        return MeterCase(
            TrtllmEnergyMeter,
            TrtllmEnergyConfig(url=counting, interval_ms=50.0),
            settle_s=2.0,
            true_watts={"n0/gpu0/trtllm_energy": 250.0},
            refusals={
                Reason.NOT_CONFIGURED: TrtllmEnergyConfig(),
                Reason.UNREACHABLE: TrtllmEnergyConfig(url="http://127.0.0.1:9"),
            },
        )


def test_the_counter_is_a_check_and_says_when_the_server_looked(counting: str) -> None:
    context = RecordingContext()
    meter = TrtllmEnergyMeter(TrtllmEnergyConfig(url=counting), context)
    try:
        (channel,) = meter.discover()
        assert (channel.domain, channel.parent, channel.scope, channel.role, channel.unit) == ("n0/gpu0", "n0", "gpu", "check", "J")
        before_ns = time.monotonic_ns()
        meter.open()
        meter.at_window_edge("measure")
        reading = list(meter.read())[-1]
        assert reading.source_clock == "monotonic"
        assert before_ns <= reading.source_ns <= time.monotonic_ns()
    finally:
        meter.close()


def test_the_sum_over_several_gpus_enters_no_ledger(counting: str) -> None:
    """As a domain beside gpu0, gpu1, ... it would count their energy twice."""
    meter = TrtllmEnergyMeter(TrtllmEnergyConfig(url=counting, gpus=4), RecordingContext())
    (channel,) = meter.discover()
    assert (channel.channel, channel.kind, channel.unit, channel.role) == ("n0/trtllm_gpus/trtllm_energy", "counter", "J", None)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [({}, "HTTP 503: Energy monitoring is not available"), ({"energy_w": 1.0, "missing": ["/energy_metrics"]}, "HTTP 404: this release")],
)
def test_a_server_without_a_counter_is_unavailable_with_its_reason(served: Any, model: Path, behaviour: dict[str, Any], words: str) -> None:
    with served.serving(model, **behaviour) as url:
        meter = TrtllmEnergyMeter(TrtllmEnergyConfig(url=url), RecordingContext())
        with pytest.raises(Unavailable, match=words) as missing:
            meter.discover()
    assert missing.value.reason is Reason.UNSUPPORTED
    assert "curl" in str(missing.value.fix)


def test_a_server_that_goes_away_gives_no_reading_and_one_event(served: Any, model: Path) -> None:
    context = RecordingContext()
    with served.serving(model, energy_w=100.0) as url:
        meter = TrtllmEnergyMeter(TrtllmEnergyConfig(url=url, interval_ms=20.0), context)
        meter.discover()
        meter.open()
        meter.at_window_edge("measure")
        assert list(meter.read())
    try:
        time.sleep(0.2)
        list(meter.read())
        time.sleep(0.1)
        assert list(meter.read()) == []
    finally:
        meter.close()
    errors = [event for event in context.events if event.code == EventCode.METER_ERROR]
    assert 1 <= len(errors) <= 2
    assert "does not answer" in errors[0].message
