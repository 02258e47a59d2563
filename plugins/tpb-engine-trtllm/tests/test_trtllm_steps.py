"""Iteration statistics as step log: what they add up to, and when there is none and why."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from tpb_core.api import EventCode

Open = Callable[..., Any]


def test_steps_hold_what_was_computed(open_desk: Open) -> None:
    desk = open_desk(overlap_scheduler=False)
    sink = desk.run(desk.ask(0, tokens=100, max_output_tokens=4), desk.ask(1, tokens=30, max_output_tokens=9))
    assert sum(step.prefill_tokens for step in sink.steps) == 130
    assert sum(step.decode_tokens for step in sink.steps) == 3 + 8  # the first token of each comes out of its prefill
    assert sum(step.emitted_tokens for step in sink.steps) == 13
    assert all(step.members is None and step.time_source == "engine" for step in sink.steps)
    assert sink.events == []


def test_a_step_lasts_as_long_as_its_iteration(open_desk: Open, settings: Any) -> None:
    settings.step_s, settings.prefill_token_s = 0.02, 0.001
    desk = open_desk(overlap_scheduler=False)
    sink = desk.run(desk.ask(tokens=100, max_output_tokens=4))
    spans_s = [(step.t1_ns - step.t0_ns) / 1e9 for step in sink.steps]
    assert 0.12 <= spans_s[0] < 1.0
    assert 0.02 <= min(spans_s[1:]) < 0.1
    row = sink.requests[0]
    assert row.started_ns - 50_000_000 <= sink.steps[0].t0_ns
    assert sink.steps[-1].t1_ns <= row.finished_ns + 50_000_000


def test_chunks_of_a_prompt_are_steps_that_emit_nothing(open_desk: Open) -> None:
    desk = open_desk(chunked_prefill=True, max_num_tokens=32, overlap_scheduler=False)
    sink = desk.run(desk.ask(tokens=100, max_output_tokens=3))
    assert [(step.prefill_tokens, step.emitted_tokens) for step in sink.steps] == [(32, 0), (32, 0), (32, 0), (4, 1), (0, 1), (0, 1)]
    assert [step.prefill_kv_tokens for step in sink.steps[:4]] == [0, 32, 64, 96]
    assert [step.kv_tokens for step in sink.steps] == [0, 0, 0, 0, 100, 101]


def test_with_overlap_the_wasted_position_after_a_natural_end_is_decode_and_emits_nothing(open_desk: Open) -> None:
    """The scheduler is one iteration ahead when the end token shows, so one position is computed for nothing."""
    desk = open_desk()
    sink = desk.run(desk.ask(max_output_tokens=40, exact_output_length=False))
    assert (sink.requests[0].reason, sink.requests[0].output_tokens) == ("stop", 12)
    assert sum(step.emitted_tokens for step in sink.steps) == 12
    assert sum(step.decode_tokens for step in sink.steps) == 11 + 1
    assert any(before.t1_ns > after.t0_ns for before, after in itertools.pairwise(sink.steps))
    assert sink.events == []


def test_statistics_without_times_are_no_step_log(open_desk: Open, settings: Any) -> None:
    settings.timestamps = False
    desk = open_desk()
    assert desk.description.step_log["available"] is False
    assert "leave `timestamp` empty" in desk.description.step_log["reason"]
    assert desk.engine.own_capabilities().step_log is False
    assert desk.run().steps == []


def test_statistics_from_another_time_zone_find_their_place(open_desk: Open, settings: Any) -> None:
    settings.zone_s = -5.75 * 3600
    desk = open_desk(overlap_scheduler=False)
    sink = desk.run()
    assert desk.description.step_log["available"] is True
    assert sink.requests[0].started_ns - 50_000_000 < sink.steps[0].t0_ns < sink.requests[0].finished_ns


def test_statistics_whose_times_are_wrong_are_no_step_log(open_desk: Open, settings: Any) -> None:
    settings.zone_s = 61.0
    desk = open_desk()
    assert "outside of the time in which their request ran" in desk.description.step_log["reason"]


def test_pipeline_parallel_runs_have_no_step_log(open_desk: Open) -> None:
    desk = open_desk(pipeline_parallel=2)
    assert "micro-batches" in desk.description.step_log["reason"]


def test_lost_statistics_are_told(open_desk: Open, settings: Any) -> None:
    desk = open_desk(overlap_scheduler=False)
    settings.loses_statistics = 5
    sink = desk.run(desk.ask(max_output_tokens=40))
    (told,) = [message for code, message, _ in sink.events if code == EventCode.TOKENS_DIFFER]
    assert "of 40" in told or "the requests 40" in told
    settings.loses_statistics = 0
    assert sum(step.emitted_tokens for step in desk.run(desk.ask(1)).steps) == sum(step.emitted_tokens for step in sink.steps)


def test_attention_data_parallel_ranks_are_instances(open_desk: Open) -> None:
    desk = open_desk(tensor_parallel=2, attention_dp=True)
    assert [(row["instance"], row["dp_rank"]) for row in desk.description.instances] == [("0", 0), ("1", 1)]
