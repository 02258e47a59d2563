"""What becomes of requests: tokens as they come, statuses, the executor's own times and when they are not believed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tpb_core.api import BadInput, EventCode, Refused

Open = Callable[..., Any]


def codes(sink: Any) -> list[EventCode]:
    return [code for code, _, _ in sink.events]


def test_the_executors_times_are_on_the_run_clock(open_desk: Open, settings: Any) -> None:
    settings.prefill_token_s, settings.step_s = 0.001, 0.01
    desk = open_desk()
    before_ns = time.monotonic_ns()
    sink = desk.run(desk.ask(tokens=100))
    row = sink.requests[0]
    assert before_ns <= row.queued_ns <= row.started_ns <= row.first_token_ns
    assert 0.1 < (row.first_token_ns - row.started_ns) / 1e9 < 1.0  # 100 tokens of 1 ms, a step of 10 ms, one more while it overlaps
    assert (row.input_tokens, row.output_tokens, row.cached_tokens, row.preemptions) == (100, 6, 0, 0)
    assert desk.description.extensions["x_trtllm"]["request_times"] == "on the run clock"


def test_waiting_for_a_place_is_queueing_not_prefill(open_desk: Open, settings: Any) -> None:
    settings.step_s = 0.01
    desk = open_desk(max_batch_size=1)
    sink = desk.run(desk.ask(0), desk.ask(1))
    first, second = sink.requests[0], sink.requests[1]
    assert second.started_ns >= first.last_token_ns - 25_000_000
    assert second.started_ns - second.queued_ns > 30_000_000  # six iterations of 10 ms, less what submitting both takes


@pytest.mark.parametrize("shift_s", [5.0, -0.05])
def test_a_clock_that_does_not_fit_is_not_believed(open_desk: Open, settings: Any, shift_s: float) -> None:
    """The executor's process reads another clock than `steady_clock_now` in ours."""
    settings.executor_clock_s = shift_s
    desk = open_desk()
    sink = desk.run(desk.ask(0), desk.ask(1))
    assert [(row.started_ns, row.queued_ns, row.status) for row in sink.requests.values()] == [(None, None, "ok")] * 2
    told = [message for code, message, _ in desk.opening.events + sink.events if code == EventCode.TIMES_UNKNOWN]
    assert len(told) == 1
    assert "CLOCK_MONOTONIC" in told[0]
    assert "CLOCK_MONOTONIC" in desk.description.extensions["x_trtllm"]["request_times"]


def test_a_clock_that_goes_wrong_later_is_noticed_request_by_request(open_desk: Open, settings: Any) -> None:
    desk = open_desk()
    assert desk.run(desk.ask(0)).requests[0].started_ns is not None
    settings.executor_clock_s = 1.0
    assert desk.run(desk.ask(1)).requests[1].started_ns is None
    settings.executor_clock_s = 0.0
    assert desk.run(desk.ask(2)).requests[2].started_ns is not None


def test_without_the_bindings_clock_the_first_request_is_the_bracket(open_desk: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt_llm.bindings

    monkeypatch.delattr(tensorrt_llm.bindings, "steady_clock_now")
    desk = open_desk(overlap_scheduler=False)
    assert desk.run().requests[0].started_ns is not None


def test_a_bracket_that_is_too_wide_tells_nothing(open_desk: Open, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt_llm.bindings

    monkeypatch.delattr(tensorrt_llm.bindings, "steady_clock_now")
    settings.step_s = 0.001
    import tensorrt_llm.executor.result as result

    put = result.RequestOutput._put

    def slow_put(self: Any, response: Any) -> None:
        time.sleep(0.02)
        put(self, response)

    monkeypatch.setattr(result.RequestOutput, "_put", slow_put)
    desk = open_desk()
    assert "to within" in desk.description.extensions["x_trtllm"]["request_times"]
    assert desk.run().requests[0].started_ns is None


def test_no_metrics_no_times_and_no_complaint(open_desk: Open) -> None:
    import tensorrt_llm

    fields = tensorrt_llm.SamplingParams.__dataclass_fields__
    assert "return_perf_metrics" in fields
    desk = open_desk(request_metrics=False)
    sink = desk.run()
    assert sink.requests[0].started_ns is None
    assert sink.events == []
    assert sink.requests[0].cached_tokens == 0


def test_each_sequence_is_counted_once(open_desk: Open) -> None:
    """`token_ids_diff` of the sequences that a response is not about is stale; adding it up would count tokens again and again."""
    desk = open_desk(sampler="TRTLLMSampler")
    row = desk.run(desk.ask(n=3, temperature=0.8, seed=4)).requests[0]
    assert (row.output_tokens, row.counted_tokens, row.sequences) == (18, 18, 3)


def test_a_failing_executor_is_an_error_and_others_before_it_are_not(open_desk: Open, settings: Any) -> None:
    desk = open_desk()
    assert desk.run(desk.ask(0)).requests[0].status == "ok"
    settings.fails_after = 3
    row = desk.run(desk.ask(1)).requests[1]
    assert (row.status, row.error) == ("error", "CUDA error: an illegal memory access was encountered")
    assert row.counted_tokens == 2


def test_what_does_not_fit_is_rejected(open_desk: Open) -> None:
    desk = open_desk(max_seq_len=64)
    sink = desk.run(desk.ask(0, tokens=200), desk.ask(1, tokens=40))
    assert sink.requests[0].status == "rejected"
    assert "should not exceed max_seq_len (64)" in sink.requests[0].error
    assert sink.requests[1].status == "ok"


@pytest.mark.parametrize(("reason", "status"), [("timeout", "timeout"), ("cancelled", "cancelled"), ("not_finished", "error")])
def test_finish_reasons_are_statuses(open_desk: Open, settings: Any, reason: str, status: str) -> None:
    desk = open_desk()
    settings.ends_with = reason
    assert desk.run().requests[0].status == status


def test_a_request_that_takes_too_long_is_given_up(open_desk: Open, settings: Any) -> None:
    desk = open_desk(request_timeout_s=0.3)
    settings.step_s = 0.05
    row = desk.run(desk.ask(max_output_tokens=50)).requests[0]
    assert row.status == "timeout"
    assert 0 < row.counted_tokens < 50


def test_after_shutdown_of_the_executor_requests_are_errors(open_desk: Open) -> None:
    desk = open_desk()
    desk.engine._session.llm.shutdown()
    assert desk.run().requests[0].status == "error"


def test_reuse_that_nobody_asked_for_is_an_event(open_desk: Open, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older release: no `cached_tokens`, but the blocks that were reused. How many tokens that is, nobody says."""
    import tensorrt_llm.executor.result as result

    desk = open_desk()
    settings.reuses_anyway = 2
    monkeypatch.setattr(result.RequestOutput, "cached_tokens", property(lambda self: None, lambda self, value: None), raising=False)
    row = desk.run().requests[0]
    assert row.cached_tokens is None
    assert codes(desk.sink) == [EventCode.PREFIX_REUSED]


def test_prefixes_are_reused_when_asked_for(open_desk: Open) -> None:
    desk = open_desk(prefix_cache=True)
    assert desk.description.prefix_cache is True
    ids = desk.ask(tokens=100).input_ids
    rows = []
    for number in range(2):
        request = desk.ask(number, tokens=100)
        request.input_ids = list(ids)
        rows.append(desk.run(request).requests[number])
    assert [row.cached_tokens for row in rows] == [0, 96]  # three whole blocks of 32
    assert codes(desk.sink) == []
    assert desk.engine.reset_caches() is False


@pytest.mark.parametrize("changes", [{"beam_width": 2}, {"stop": ("x",)}])
def test_what_is_not_honoured_exactly_is_refused(open_desk: Open, changes: dict[str, Any]) -> None:
    desk = open_desk()
    with pytest.raises(Refused, match="not honoured exactly"):
        desk.run(desk.ask(**changes))


def test_drawn_tokens_are_claimed_only_with_a_sampler_that_keeps_to_seeds(open_desk: Open) -> None:
    assert open_desk().engine.own_capabilities().sampling == frozenset()
    assert "temperature" in open_desk(sampler="TRTLLMSampler").engine.own_capabilities().sampling


def test_greedy_several_times_is_bad_input(open_desk: Open) -> None:
    desk = open_desk()
    with pytest.raises(BadInput, match="same output"):
        desk.run(desk.ask(n=2))


def test_images_are_refused(open_desk: Open) -> None:
    tokenizer = open_desk().engine.tokenizer()
    with pytest.raises(BadInput, match="multimodal"):
        tokenizer.render_chat([[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]])
    with pytest.raises(BadInput, match="chat template"):
        tokenizer.render_chat([[{"role": "wizard", "content": "hello"}]])
