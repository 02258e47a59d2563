"""trtllm-serve that runs already: what it tells beside its answers, and what is not believed."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, EngineContext, EventCode, Request, Sampling
from tpb_core.testing.engine_session import SuiteClock
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_trtllm import TrtllmServeConfig, TrtllmServeEngine


class Counter:
    """An engine in front of a server."""

    def __init__(self, url: str, **options: Any) -> None:
        self.engine = TrtllmServeEngine(TrtllmServeConfig(url=url, **options), EngineContext(clock=SuiteClock(), run_id="r"))
        self.opening, self.sink = RecordingSink(), RecordingSink()
        self.description = self.engine.open(self.opening)

    def run(self, count: int = 1, **changes: Any) -> RecordingSink:
        sampling = Sampling(**{"max_output_tokens": 6, "exact_output_length": True, **changes})
        texts = ["The keeper of the lighthouse wrote down every ship.", "In winter the ships were few.", "In spring there were more."]
        self.engine.submit([Request(number, f"q{number}", sampling, text=texts[number]) for number in range(count)], self.sink)
        while self.engine.advance(self.sink, time.monotonic_ns() + 50_000_000):
            pass
        self.engine.settle(self.sink)
        return self.sink


@pytest.fixture
def counter() -> Iterator[Any]:
    """Opens engines, closed after the test."""
    opened: list[Counter] = []

    def open_one(url: str, **options: Any) -> Counter:
        opened.append(Counter(url, **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.engine.close()


def test_times_and_steps_come_from_the_server(served: Any, model: Path, counter: Any) -> None:
    with served.serving(model) as url:
        found = counter(url)
        before_ns = time.monotonic_ns()
        sink = found.run(3)
        for row in sink.requests.values():
            # Alone, a request has all its stamps (the next test). On a busy machine these three may be not told apart, and have none.
            known = [t_ns for t_ns in (before_ns, row.queued_ns, row.started_ns, row.first_token_ns) if t_ns is not None]
            assert known == sorted(known)
            assert row.output_tokens == 6
        assert sum(step.emitted_tokens for step in sink.steps) == 18
        assert sum(step.prefill_tokens for step in sink.steps) == sum(row.input_tokens for row in sink.requests.values())
        assert found.description.step_log["available"] is True
        assert found.description.version == "trtllm 1.2.0"
        assert sink.events == found.opening.events == []


def test_a_server_clock_that_is_elsewhere_is_mapped_by_its_own_page(served: Any, model: Path, counter: Any) -> None:
    """Another epoch, as on another machine: /steady_clock_offset says by how much."""
    with served.serving(model, double={"executor_clock_s": 5000.0}) as url:
        before_ns = time.monotonic_ns()
        row = counter(url).run().requests[0]
        assert before_ns < row.queued_ns <= row.started_ns <= row.first_token_ns


def test_without_that_page_the_first_request_is_the_bracket(served: Any, model: Path, counter: Any) -> None:
    """It is wider; where it is too wide (a busy machine), that is said, and nothing is believed."""
    with served.serving(model, double={"step_s": 0.001}, missing=["/steady_clock_offset"]) as url:
        found = counter(url)
        told = found.description.extensions["x_trtllm"]["request_times"]
        started_ns = found.run().requests[0].started_ns
        assert started_ns is not None if told == "on the run clock" else "to within" in told and started_ns is None


def test_a_server_that_times_no_requests_says_what_it_would_take(served: Any, model: Path, counter: Any) -> None:
    with served.serving(model, {"enable_iter_perf_stats": True, "disable_overlap_scheduler": True}) as url:
        found = counter(url)
        assert found.run().requests[0].started_ns is None
        assert "perf_metrics_max_requests" in found.opening.events[0][1]
        assert "perf_metrics_max_requests" in found.description.extensions["x_trtllm"]["request_times"]


def test_a_server_without_iteration_statistics_has_no_step_log(served: Any, model: Path, counter: Any) -> None:
    with served.serving(model, {}) as url:
        found = counter(url, request_metrics=False)
        assert "enable_iter_perf_stats" in found.description.step_log["reason"]
        assert found.run().steps == []


def test_iterations_of_others_are_told(served: Any, model: Path, counter: Any) -> None:
    with served.serving(model) as url:
        found = counter(url, overlap_scheduler=False)
        body = b'{"model": "model0", "prompt": "hello", "max_tokens": 9, "ignore_eos": true}'
        other = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
        thread = threading.Thread(target=lambda: urllib.request.urlopen(other, timeout=10).close())
        thread.start()
        thread.join()
        sink = found.run()
        (told,) = [message for code, message, _ in sink.events if code == EventCode.TOKENS_DIFFER]
        assert "15 output tokens and our requests 6" in told
        assert sink.requests[0].started_ns is not None


def test_the_server_in_another_time_zone(served: Any, model: Path, counter: Any) -> None:
    with served.serving(model, double={"zone_s": 9 * 3600.0}) as url:
        sink = counter(url).run()
        row = sink.requests[0]
        assert row.started_ns - 50_000_000 < sink.steps[0].t0_ns < sink.steps[-1].t1_ns < row.finished_ns + 50_000_000


def test_stop_strings_and_unseeded_draws_are_not_claimed(served: Any, model: Path, counter: Any) -> None:
    with served.serving(model) as url:
        assert counter(url).engine.own_capabilities().sampling == frozenset()


def test_a_model_that_the_server_does_not_have(served: Any, model: Path, counter: Any) -> None:
    with served.serving(model) as url, pytest.raises(BadInput, match="has no model 'other'"):
        counter(url, model="other")
