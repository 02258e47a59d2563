"""A real vLLM server under the conformance suite and under the meter, where one runs: TPB_VLLM_URL=http://localhost:8000.

Start it with --enable-per-request-metrics and --enable-prompt-tokens-details, so that it tells queue times and cached tokens.
"""

from __future__ import annotations

import os
import time
from typing import ClassVar

import pytest

from tpb_core.testing.engine_session import EngineSession
from tpb_core.testing.engine_suite import EngineSuite
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_openai import OpenAiConfig, ServerMeter, ServerMeterConfig

URL = os.environ.get("TPB_VLLM_URL")
pytestmark = pytest.mark.real_engine
if URL is None:
    pytest.skip("needs a running vLLM server: TPB_VLLM_URL=http://localhost:8000", allow_module_level=True)


class TestVllmWithTokenIds(EngineSuite):
    missing_model: ClassVar[str | None] = "no-such-model"

    @pytest.fixture
    def config(self) -> OpenAiConfig:
        return OpenAiConfig(url=URL)

    def test_every_count_is_told(self, session: EngineSession, sink: RecordingSink) -> None:
        """Kind, ids, cached tokens, queue times; and no event."""
        self.run_requests(session, sink, self.sampling())
        recorded = sink.requests[0]
        assert session.description.extensions["x_server"]["kind"] == "vllm"
        assert len(recorded.ids) == recorded.output_tokens or session.config.api == "chat"
        assert recorded.cached_tokens == 0
        assert recorded.queued_ns <= recorded.started_ns <= recorded.first_token_ns
        assert sink.events == []


class TestVllmWithText(TestVllmWithTokenIds):
    @pytest.fixture
    def config(self) -> OpenAiConfig:
        return OpenAiConfig(url=URL, token_ids=False)


class TestVllmChat(TestVllmWithTokenIds):
    @pytest.fixture
    def config(self) -> OpenAiConfig:
        return OpenAiConfig(url=URL, api="chat")


def test_the_meter_counts_what_the_engine_counts(open_desk: object) -> None:
    """Ten output tokens more on the server's own counter after requests for ten; nobody else may use the server meanwhile."""
    context = RecordingContext()
    meter = ServerMeter(ServerMeterConfig(url=URL, interval_ms=50.0), context)
    channels = [channel.channel for channel in meter.discover()]
    assert {"n0/server/output_tokens", "n0/server/input_tokens", "n0/server/finished_requests", "n0/server/kv_usage"} <= set(channels)
    meter.open()
    try:
        meter.at_window_edge("measure")
        before = {reading.channel: reading.value for reading in meter.read()}
        desk = open_desk(url=URL)  # type: ignore[operator]
        sink = desk.run(desk.ask(0, max_output_tokens=5), desk.ask(1, max_output_tokens=5))
        time.sleep(1.0)
        meter.at_window_edge("measure")
        after = {reading.channel: reading.value for reading in meter.read()}
    finally:
        meter.close()
    counted = {name.rpartition("/")[2]: after[name] - before[name] for name in after}
    assert (counted["output_tokens"], counted["finished_requests"]) == (10, 2)
    assert counted["input_tokens"] == sum(recorded.input_tokens for recorded in sink.requests.values())
