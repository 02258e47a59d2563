"""The meter `server` under the conformance suite of meters, and what it does with servers that restart, lie or go away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tpb_core.api import EventCode, Reason, Unavailable
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.meter_suite import MeterSuite
from tpb_core.testing.openai_double import DoubleSettings, OpenAiDouble
from tpb_engine_openai import ServerMeter, ServerMeterConfig

Start = Callable[..., OpenAiDouble]


class TestServerMeter(MeterSuite):
    @pytest.fixture
    def case(self) -> Iterator[MeterCase]:
        with OpenAiDouble(DoubleSettings(energy_w=120.0)) as double:
            yield MeterCase(
                ServerMeter,
                ServerMeterConfig(url=double.url, interval_ms=50.0),
                settle_s=2.0,
                refusals={
                    Reason.NOT_CONFIGURED: ServerMeterConfig(),
                    Reason.UNREACHABLE: ServerMeterConfig(url="http://127.0.0.1:9"),
                },
            )


def meter(url: str, context: RecordingContext, interval_ms: float = 20.0) -> ServerMeter:
    made = ServerMeter(ServerMeterConfig(url=url, interval_ms=interval_ms), context)
    made.discover()
    made.open()
    return made


def values(made: ServerMeter, seconds: float = 0.3) -> dict[str, float]:
    time.sleep(seconds)
    return {reading.channel.rpartition("/")[2]: reading.value for reading in made.read()}


def test_what_the_server_counts(new_double: Start) -> None:
    double, context = new_double(), RecordingContext()
    double.counters.generation_tokens, double.counters.prompt_tokens, double.counters.finished = 500, 70, 3
    made = meter(double.url, context)
    try:
        assert values(made) == {
            "output_tokens": 500, "input_tokens": 70, "finished_requests": 3,
            "running_requests": 0, "waiting_requests": 0, "kv_usage": 0.25,
        }  # fmt: skip
        channels = {channel.channel: channel for channel in made.discover()}
        assert (channels["n0/server/output_tokens"].kind, channels["n0/server/output_tokens"].unit) == ("counter", "tokens")
        assert (channels["n0/server/kv_usage"].kind, channels["n0/server/kv_usage"].domain) == ("gauge", "n0/server")
        assert channels["n0/server/output_tokens"].extensions == {"x_models": ["double"]}
    finally:
        made.close()


def test_an_edge_is_read_at_once_however_long_the_interval(new_double: Start) -> None:
    double, context = new_double(), RecordingContext()
    made = meter(double.url, context, interval_ms=60_000.0)
    try:
        values(made)
        double.counters.generation_tokens = 42
        edge_ns = context.clock.now_ns()
        made.at_window_edge("measure")
        (found,) = [reading for reading in made.read() if reading.channel == "n0/server/output_tokens"]
        assert found.value == 42
        assert found.t_before_ns >= edge_ns
    finally:
        made.close()


def test_a_restarted_server_is_an_event_and_its_counter_goes_on(new_double: Start) -> None:
    double, context = new_double(), RecordingContext()
    double.counters.generation_tokens = 900
    made = meter(double.url, context)
    try:
        values(made)
        double.counters.generation_tokens = 5
        assert values(made)["output_tokens"] == 5
    finally:
        made.close()
    assert [event.channel for event in context.events if event.code == EventCode.COUNTER_RESET] == ["n0/server/output_tokens"]


def test_a_server_that_goes_away_gives_no_readings_and_few_events(new_double: Start) -> None:
    double, context = new_double(), RecordingContext()
    made = meter(double.url, context)
    try:
        values(made)
        double.__exit__()
        values(made)
        assert values(made) == {}
    finally:
        made.close()
    errors = [event for event in context.events if event.code == EventCode.METER_ERROR]
    assert len(errors) <= 2 * 6  # one for each channel, and one at the end that counts the rest
    assert all("does not answer" in event.message for event in errors)


def test_the_address_of_the_metrics_page_will_do(new_double: Start) -> None:
    double = new_double()
    made = ServerMeter(ServerMeterConfig(url=f"{double.url}/metrics"), RecordingContext())
    assert len(made.discover()) == 6


def test_the_metrics_of_tensorrt_llm_are_not_drained(new_double: Start) -> None:
    """Its /metrics hands each figure out once; ours are read elsewhere or not at all."""
    double = new_double(owner="tensorrt_llm")
    made = ServerMeter(ServerMeterConfig(url=double.url), RecordingContext())
    with pytest.raises(Unavailable, match="/prometheus/metrics answers HTTP 404"):
        made.discover()


@pytest.mark.parametrize("settings", [{"has_metrics": False}, {"missing": frozenset({"/metrics"})}])
def test_a_server_without_metrics_is_refused_with_what_to_type(new_double: Start, settings: dict[str, object]) -> None:
    made = ServerMeter(ServerMeterConfig(url=new_double(**settings).url), RecordingContext())
    with pytest.raises(Unavailable) as refusal:
        made.discover()
    assert refusal.value.reason is Reason.UNSUPPORTED
    assert "--metrics" in str(refusal.value.fix)


def test_the_energy_of_a_server_is_recorded_and_enters_no_total() -> None:
    """Beside the GPU's own meter it would be counted twice: a plain counter has no role in the ledger. 120 W, within a fifth."""
    context = RecordingContext()
    with OpenAiDouble(DoubleSettings(energy_w=120.0)) as double:
        made = ServerMeter(ServerMeterConfig(url=double.url, interval_ms=20.0), context)
        energy = next(channel for channel in made.discover() if channel.channel == "n0/server/gpu_energy")
        assert (energy.kind, energy.unit, energy.role) == ("counter", "J", None)
        made.open()
        seen: list[tuple[int, float]] = []
        give_up = time.monotonic() + 30
        while (len(seen) < 2 or seen[-1][0] - seen[0][0] < 10**9) and time.monotonic() < give_up:
            time.sleep(0.05)
            seen += [(reading.t_before_ns, reading.value) for reading in made.read() if reading.channel == energy.channel]
        made.close()
    watts = (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0]) * 1e9
    assert 96 < watts < 144
