"""What the scheduler decides becomes steps: prefill, decode, recomputed, drafted and accepted tokens, worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tpb_core.api import Member, Sampling, Step
from tpb_core.testing.engine_session import SuiteVirtualClock
from tpb_engine_vllm.room import Room
from tpb_engine_vllm.step_tap import StepTap, stream_of
from tpb_engine_vllm.streams import Iteration, Part, Stream, step_of


def steps_of(stream: Stream, *rows: tuple[Part, int], drafts: bool = False) -> list[Step]:
    """One step for each part with the number of tokens that came out of it."""
    return [
        step_of(Iteration(n, [part], n + 1, {stream.name: [5] * emitted}), {stream.name: stream}, drafts=drafts)
        for n, (part, emitted) in enumerate(rows)
    ]


def part(start: int, width: int, drafts: int = 0, preemptions: int = 0) -> Part:
    return Part("a", start, width, drafts, preemptions)


def test_a_prompt_in_two_chunks_then_decoding() -> None:
    steps = steps_of(Stream("a", 7, 0, 20), (part(0, 16), 0), (part(16, 4), 1), (part(20, 1), 1), (part(21, 1), 1))
    assert [(s.prefill_tokens, s.decode_tokens, s.emitted_tokens) for s in steps] == [(16, 0, 0), (4, 0, 1), (0, 1, 1), (0, 1, 1)]
    assert [(s.prefill_kv_tokens, s.kv_tokens) for s in steps] == [(0, 0), (16, 0), (0, 20), (0, 21)]
    assert steps[1].members == [Member(7, 4, 0, 1, 16)]
    assert steps[0].draft_tokens is None


def test_cached_prompt_tokens_are_not_prefill() -> None:
    stream = Stream("a", 0, 0, 50)
    (step,) = steps_of(stream, (part(48, 2), 1))
    assert (stream.cached, step.prefill_tokens, step.recomputed_tokens) == (48, 2, 0)


def test_a_preempted_request_is_computed_again() -> None:
    # prompt 10, three output tokens: 12 positions were computed; after the preemption 13 are: 12 again and the last output token
    stream = Stream("a", 0, 0, 10)
    steps = steps_of(stream, (part(0, 10), 1), (part(10, 1), 1), (part(11, 1), 1), (part(0, 13, preemptions=1), 1), (part(13, 1), 1))
    again = steps[3]
    assert (again.prefill_tokens, again.recomputed_tokens, again.decode_tokens, again.emitted_tokens) == (12, 12, 1, 1)
    assert sum(s.prefill_tokens - (s.recomputed_tokens or 0) for s in steps) == 10
    assert sum(s.decode_tokens for s in steps) == 4
    assert stream.preemptions == 1


def test_rejected_drafts_leave_the_cache_and_are_no_recomputation() -> None:
    # four drafts, one accepted: two tokens come out, positions 10 and 11 stay, the next step begins at 12
    stream = Stream("a", 0, 0, 10)
    rows = [(part(0, 10), 1), (part(10, 5, drafts=4), 2), (part(12, 5, drafts=4), 5), (part(17, 1), 1)]
    steps = steps_of(stream, *rows, drafts=True)
    assert [(s.draft_tokens, s.accepted_tokens) for s in steps] == [(0, 0), (4, 1), (4, 4), (0, 0)]
    assert [(s.decode_tokens, s.emitted_tokens, s.recomputed_tokens) for s in steps[1:]] == [(5, 2, 0), (5, 5, 0), (1, 1, 0)]
    assert [s.kv_tokens for s in steps[1:]] == [10, 12, 17]


def test_a_step_scheduled_ahead_starts_where_the_accepted_tokens_end() -> None:
    # scheduled before it was known that three of four drafts are rejected: the scheduler says 15, true is 12
    steps = steps_of(Stream("a", 0, 0, 10), (part(0, 10), 1), (part(10, 5, drafts=4), 2), (part(15, 5, drafts=4), 1), drafts=True)
    assert (steps[2].kv_tokens, steps[2].recomputed_tokens) == (12, 0)


def test_sequences_of_one_request_are_one_member_and_the_prompt_again_is_recomputed() -> None:
    streams = {name: Stream(name, 3, sequence, 6) for sequence, name in enumerate("ab")}
    step = step_of(Iteration(0, [Part("a", 0, 6, 0, 0), Part("b", 0, 6, 0, 0)], 1, {"a": [5], "b": [5]}), streams, drafts=False)
    assert (step.prefill_tokens, step.recomputed_tokens) == (12, 6)
    assert step.members == [Member(3, 12, 0, 2, 0)]


@dataclass
class Scheduler:
    """vLLM's scheduler as far as the tap looks at it: `schedule` counts the positions before it returns."""

    clock: SuiteVirtualClock
    requests: dict[str, Any] = field(default_factory=dict)
    widths: list[dict[str, int]] = field(default_factory=list)

    def schedule(self, throttle_prefills: bool = False) -> Any:
        self.clock.sleep_until(self.clock.now_ns() + 10)
        widths = self.widths.pop(0)
        for name, width in widths.items():
            self.requests[name].num_computed_tokens += width
        return SimpleNamespace(num_scheduled_tokens=widths, scheduled_spec_decode_tokens={})

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        self.clock.sleep_until(self.clock.now_ns() + 1000)
        ids = {name: [5] for name in scheduler_output.num_scheduled_tokens}
        outputs = [SimpleNamespace(request_id=name, new_token_ids=new) for name, new in ids.items()]
        return {0: SimpleNamespace(outputs=outputs, timestamp=self.clock.now_ns() / 1e9)}


def event(kind: str, timestamp_s: float) -> Any:
    return SimpleNamespace(type=SimpleNamespace(name=kind), timestamp=timestamp_s)


def request(*events: Any) -> Any:
    return SimpleNamespace(num_computed_tokens=0, num_preemptions=0, events=list(events))


def test_the_tap_takes_the_engines_own_stamps_and_positions() -> None:
    scheduler = Scheduler(SuiteVirtualClock(), {"1/0/5-abcd1234": request(event("QUEUED", 0.5), event("SCHEDULED", 1.0))})
    scheduler.widths = [{"1/0/5-abcd1234": 8}, {}, {"1/0/5-abcd1234": 1}]
    tap = StepTap(scheduler, scheduler.clock)
    for _ in range(3):
        scheduler.update_from_output(scheduler.schedule(), None)
    beginnings, iterations = tap.take()
    assert [(b.stream, b.queued_ns, b.started_ns) for b in beginnings] == [("1/0/5", 500_000_000, 1_000_000_000)]
    assert [[(p.stream, p.start, p.width) for p in i.parts] for i in iterations] == [[("1/0/5", 0, 8)], [("1/0/5", 8, 1)]]
    assert [i.t1_ns - i.t0_ns for i in iterations] == [1010, 1010]
    assert iterations[0].outputs == {"1/0/5": [5]}
    assert [i.outputs_ns for i in iterations] == [i.t1_ns for i in iterations]
    assert tap.take() == ([], [])


def test_steps_that_are_scheduled_ahead_are_matched_to_their_own_results() -> None:
    scheduler = Scheduler(SuiteVirtualClock(), {"a": request(), "b": request()}, [{"a": 4}, {"b": 6}])
    tap = StepTap(scheduler, scheduler.clock)
    first, second = scheduler.schedule(), scheduler.schedule()
    scheduler.update_from_output(first, None)
    scheduler.update_from_output(second, None)
    iterations = tap.take()[1]
    assert [i.outputs for i in iterations] == [{"a": [5]}, {"b": [5]}]
    assert iterations[1].t0_ns < iterations[0].t1_ns


def test_the_scheduler_gets_its_methods_back() -> None:
    scheduler = Scheduler(SuiteVirtualClock())
    tap = StepTap(scheduler, scheduler.clock)
    assert scheduler.schedule == tap.schedule
    tap.close()
    assert scheduler.schedule.__func__ is Scheduler.schedule  # type: ignore[attr-defined]  # a bound method has it


def test_names_with_and_without_vllms_random_ending() -> None:
    assert stream_of("12/0/7-1a2b3c4d") == stream_of("12/0/7") == "12/0/7"


def test_room_for_a_request_and_for_a_batch() -> None:
    room = Room(request_tokens=100, step_tokens=300, sequences=4, blocks=20, block_tokens=16)
    assert room.too_long(60, Sampling(40)) is None
    assert "max_model_len" in str(room.too_long(61, Sampling(40)))
    assert room.too_much_for_one_step([(80, Sampling(20))] * 2) is None
    assert "301 tokens" in str(room.too_much_for_one_step([(81, Sampling(1)), (220, Sampling(1))]))
    assert "sequences" in str(room.too_much_for_one_step([(10, Sampling(1, n=5))]))
    assert "21 blocks" in str(room.too_much_for_one_step([(90, Sampling(10))] * 3))  # 100 tokens take 7 blocks of 16
    assert (room.holds_any_batch(2), room.holds_any_batch(3)) == (True, False)
