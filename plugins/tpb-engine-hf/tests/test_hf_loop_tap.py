"""The tap on Transformers' loop under asynchronous batching, which only GPUs have: played on a stand-in for Transformers' processor."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tpb_core.api import Unavailable
from tpb_engine_hf.loop_tap import Gone, Iteration, LoopTap
from tpb_engine_hf.rows import Row


class Clock:
    """A clock that is set by hand."""

    virtual = False

    def __init__(self) -> None:
        self.t_ns = 0

    def now_ns(self) -> int:
        return self.t_ns

    def sleep_until(self, t_ns: int) -> None:
        self.t_ns = t_ns


class AsyncProcessor:
    """Schedules one iteration ahead: `update_batch` brings the tokens of the iteration before the one that was prepared last."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.scheduler = SimpleNamespace(active_requests={}, waiting_requests={})
        self.model_runner = SimpleNamespace(pad_inputs=True)
        hosts = [SimpleNamespace(host_io=SimpleNamespace(requests_in_batch=[], num_q_tokens=0)) for _ in range(2)]
        self.inputs_and_outputs = SimpleNamespace(io_pairs=hosts, current_pair=0, compute_stream=SimpleNamespace(synchronize=self.wait))
        self.in_flight: list[list[Any]] = []
        self.prompt_tokens = 3
        self.device_done_ns = 0

    def wait(self) -> None:
        self.clock.t_ns = max(self.clock.t_ns, self.device_done_ns)

    def prepare_next_batch(self) -> bool:
        active = list(self.scheduler.active_requests.values())
        if not active:
            return False
        batch = []
        for state in active:
            width = 1 if state.position_offset else self.prompt_tokens
            state.position_offset += width
            batch.append(SimpleNamespace(state=state, query_length=width, has_new_token=True))
        io = self.inputs_and_outputs
        io.io_pairs[io.current_pair].host_io.requests_in_batch = batch
        io.io_pairs[io.current_pair].host_io.num_q_tokens = 8
        self.in_flight.append(batch)
        return True

    def update_batch(self) -> None:
        for one in self.in_flight.pop(0):
            if one.state.request_id in self.scheduler.active_requests:
                one.state.generated_tokens.append(9)
                if len(one.state.generated_tokens) == 2:
                    del self.scheduler.active_requests[one.state.request_id]


@pytest.fixture
def world() -> tuple[Clock, AsyncProcessor, LoopTap, Callable[[str], Row]]:
    clock = Clock()
    processor = AsyncProcessor(clock)
    rows: dict[str, Row] = {}
    tap = LoopTap(processor, rows, clock, lambda ids: "", lambda name: None)

    def add(name: str) -> Row:
        rows[name] = Row(0, 0, [1, 2, 3], 2, frozenset())
        processor.scheduler.active_requests[name] = SimpleNamespace(
            request_id=name, position_offset=0, initial_tokens=[1, 2, 3], generated_tokens=[]
        )
        return rows[name]

    return clock, processor, tap, add


def records(tap: LoopTap) -> list[Any]:
    found = []
    while not tap.records.empty():
        found.append(tap.records.get())
    return found


def test_an_iteration_in_flight_ends_when_the_loop_falls_idle(world: tuple[Clock, AsyncProcessor, LoopTap, Callable[[str], Row]]) -> None:
    clock, processor, tap, add = world
    row = add("0/0/0")
    for t_ns in (10, 20, 30):  # prompt, second token, and one more that was scheduled before the end was known
        clock.t_ns = t_ns
        assert processor.prepare_next_batch()
        if t_ns > 10:
            clock.t_ns = t_ns + 5
            processor.update_batch()
    processor.device_done_ns = 42
    clock.t_ns = 40
    assert not processor.prepare_next_batch()
    clock.t_ns = 1_000  # much later a second request comes, and only then the leftover is read
    add("1/0/1")
    assert processor.prepare_next_batch()
    clock.t_ns = 1_010
    processor.update_batch()
    steps = [record for record in records(tap) if isinstance(record, Iteration)]
    assert [(step.t0_ns, step.t1_ns) for step in steps] == [(10, 25), (25, 35), (35, 42)]
    assert [[part.width for part in step.parts] for step in steps] == [[3], [1], [1]]
    assert [step.padding for step in steps] == [5, 7, 7]
    assert [step.parts[0].ids for step in steps] == [[9], [9], []]
    assert (row.ended, row.ended_ns) == ("length", 35)


def test_nothing_comes_out_for_a_request_that_has_gone(world: tuple[Clock, AsyncProcessor, LoopTap, Callable[[str], Row]]) -> None:
    clock, processor, tap, add = world
    add("0/0/0")
    processor.prepare_next_batch()
    tap.leaving.add("0/0/0")
    del processor.scheduler.active_requests["0/0/0"]  # what a cancellation does, while the iteration is on the device
    clock.t_ns = 7
    processor.prepare_next_batch()
    processor.in_flight[0][0].state.generated_tokens.append(9)
    processor.update_batch()
    gone, step = records(tap)
    assert gone == Gone(7, ("0/0/0",))
    assert step.parts[0].ids == []


def test_a_version_that_is_not_known_is_said_so() -> None:
    with pytest.raises(Unavailable, match="update_batch"):
        LoopTap(SimpleNamespace(prepare_next_batch=None), {}, Clock(), lambda ids: "", lambda name: None)
