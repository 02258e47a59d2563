"""The engine suite's accounts find what is wrong in a step log, and the sink refuses reports that contradict each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tpb_core.api import Member, Step
from tpb_core.testing import engine_accounts
from tpb_core.testing.recording_sink import RecordingSink


def good_sink() -> RecordingSink:
    """Two requests of 4 and 2 prompt tokens, 2 output tokens each, in a static batch of two steps."""
    sink = RecordingSink()
    for request, input_tokens in ((0, 4), (1, 2)):
        sink.started(request, 10)
        sink.tokens(request, 20, 1, [7])
        sink.tokens(request, 30, 1, [8])
        sink.finished(request, 30, "length", input_tokens=input_tokens, output_tokens=2)
    sink.step(Step(10, 20, 6, 0, 2, members=[Member(0, 4, 0, 1, 0), Member(1, 2, 0, 1, 0)]))
    sink.step(Step(20, 30, 0, 2, 2, members=[Member(0, 0, 1, 1, 4), Member(1, 0, 1, 1, 2)]))
    return sink


def check(sink: RecordingSink, drafts: tuple[str, ...] = ()) -> None:
    for recorded in sink.requests.values():
        engine_accounts.check_request(recorded, token_stamps=True)
    engine_accounts.check_steps_in_order(sink.steps)
    engine_accounts.check_steps_hold_tokens(sink, drafts)
    engine_accounts.check_members(sink, drafts)
    engine_accounts.check_static_batch(sink)


def test_a_log_that_adds_up_passes() -> None:
    check(good_sink())
    assert engine_accounts.largest_overlap(good_sink().requests.values(), served=False) == 2


def change_step(index: int, **changes: object) -> Callable[[RecordingSink], None]:
    def apply(sink: RecordingSink) -> None:
        sink.steps[index] = replace(sink.steps[index], **changes)  # type: ignore[arg-type]

    return apply


def change_request(request: int, **changes: object) -> Callable[[RecordingSink], None]:
    def apply(sink: RecordingSink) -> None:
        for name, value in changes.items():
            setattr(sink.requests[request], name, value)

    return apply


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (change_step(1, t0_ns=19), "overlap by 1 ns"),
        (change_step(1, emitted_tokens=1), "steps emitted 3 tokens and requests report 4"),
        (change_step(0, prefill_tokens=7), "members of a step have 6 prefill_tokens"),
        (change_step(0, members=None), "unknown members"),
        (change_step(0, members=[Member(0, 4, 0, 1, 0), Member(0, 2, 0, 1, 0)]), "twice in the members"),
        (change_step(1, prefill_tokens=1, members=[Member(0, 1, 1, 1, 4), Member(1, 0, 1, 1, 2)]), "5 prefill tokens where 4 belong"),
        (change_request(0, output_tokens=3), "token reports add up to 2"),
        (change_request(1, cached_tokens=1), "2 prefill tokens where 1 belong"),
        (change_request(0, started_ns=21), "before the request began"),
        (change_request(0, finished_ns=29), "after the end"),
        (change_request(0, status="error", error="x"), "error, x"),
    ],
)
def test_each_fault_is_found(fault: Callable[[RecordingSink], None], what: str) -> None:
    sink = good_sink()
    fault(sink)
    with pytest.raises(AssertionError, match=what):
        check(sink)


def test_prefill_after_decode_is_no_static_batch() -> None:
    sink = good_sink()
    sink.step(Step(30, 40, 3, 0, 0, members=[]))
    with pytest.raises(AssertionError, match="prefill after decode"):
        engine_accounts.check_static_batch(sink)
    sink.steps = [Step(0, 1, 3, 1, 0)]
    with pytest.raises(AssertionError, match="mixes"):
        engine_accounts.check_static_batch(sink)


def test_draft_instances_count_apart_and_emit_nothing() -> None:
    sink = good_sink()
    sink.step(Step(10, 15, 4, 3, 0, instance="draft", members=[Member(0, 4, 3, 0, 0)]))
    engine_accounts.check_members(sink, ["draft"])
    sink.steps[-1] = replace(sink.steps[-1], emitted_tokens=1, members=[Member(0, 4, 3, 1, 0)])
    with pytest.raises(AssertionError, match="draft instance emitted"):
        engine_accounts.check_members(sink, ["draft"])


def test_recomputed_prompts_need_a_preemption_or_several_sequences() -> None:
    sink = good_sink()
    sink.steps[0] = replace(sink.steps[0], prefill_tokens=10, members=[Member(0, 8, 0, 1, 0), Member(1, 2, 0, 1, 0)])
    with pytest.raises(AssertionError, match="8 prefill tokens where 4 belong"):
        engine_accounts.check_members(sink)
    sink.requests[0].preemptions = 1
    engine_accounts.check_members(sink)


def test_the_sink_refuses_reports_that_contradict_each_other() -> None:
    sink = good_sink()
    with pytest.raises(AssertionError, match="after its end"):
        sink.tokens(0, 31, 1)
    with pytest.raises(AssertionError, match="after its end"):
        sink.failed(1, 31, "cancelled", "late")
    sink.started(2, 5)
    for report, what in [
        (lambda: sink.started(2, 6), "started twice"),
        (lambda: sink.tokens(2, 6, 2, [1]), "2 tokens and 1 ids"),
        (lambda: sink.tokens(2, 6, 0), "report of 0 tokens"),
        (lambda: sink.finished(2, 6, "done", input_tokens=1, output_tokens=1), "reason 'done'"),
        (lambda: sink.failed(2, 6, "broken", "x"), "status 'broken'"),
        (lambda: sink.failed(2, 6, "error", ""), "without a word"),
        (lambda: sink.window("compile", 2, 1), "ends before it begins"),
    ]:
        with pytest.raises(AssertionError, match=what):
            report()
