"""Load shapes: who is sent when. Played against an engine that takes a stated time for each request."""

from __future__ import annotations

import heapq
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api.errors import BadInput
from tpb_core.config.schema import ClosedLoad, OfflineLoad, StaticLoad
from tpb_core.run.load import LoadShape, make_shape
from tpb_core.run.load.closed import ClosedShape
from tpb_core.run.load.static import StaticShape


def play(shape: LoadShape, service_ns: list[int]) -> list[tuple[int, int, int]]:
    """`(sent, due, ended)` of each request on an engine without queue, where request i takes `service_ns[i]`."""
    now, rows, under_way = 0, {}, []
    shape.begin(0)
    while not shape.done:
        for send in shape.due(now):
            for request in send.requests:
                rows[request] = [now, send.due_ns, now + service_ns[request]]
                heapq.heappush(under_way, (now + service_ns[request], request))
        next_due = shape.next_due_ns()
        if under_way and (next_due is None or under_way[0][0] <= next_due):
            now, request = heapq.heappop(under_way)
            shape.finished(now, request)
        else:
            assert next_due is not None, "the shape waits for nothing"
            now = max(now, next_due)
    return [tuple(rows[request]) for request in sorted(rows)]  # type: ignore[misc]


def concurrency_at(rows: list[tuple[int, int, int]], t: int) -> int:
    return sum(sent <= t < ended for sent, _, ended in rows)


times = st.lists(st.integers(1, 1000), min_size=1, max_size=60)


@given(times, st.integers(1, 10))
def test_a_static_batch_begins_when_the_last_one_has_ended(service: list[int], batch: int) -> None:
    rows = play(StaticShape(len(service), batch), service)
    assert len(rows) == len(service)
    begin = 0
    for first in range(0, len(service), batch):
        members = rows[first : first + batch]
        assert {sent for sent, _, _ in members} == {begin}
        begin = max(ended for _, _, ended in members)


@given(times, st.integers(1, 10))
def test_closed_loop_keeps_all_users_busy_until_requests_run_out(service: list[int], users: int) -> None:
    shape = ClosedShape(len(service), users)
    rows = play(shape, service)
    last_sent = max(sent for sent, _, _ in rows)
    for t in {sent for sent, _, _ in rows if sent < last_sent}:
        assert concurrency_at(rows, t) == min(users, len(service))
    steady = shape.steady()
    assert steady is not None
    assert steady == (0, sorted(ended for _, _, ended in rows)[len(service) - shape.max_concurrency])


def test_a_user_who_thinks_is_due_after_the_pause_not_after_the_client_is_free() -> None:
    rows = play(ClosedShape(3, 1, think_time_s=1e-6), [100, 100, 100])
    assert rows == [(0, 0, 100), (1100, 1100, 1200), (2200, 2200, 2300)]


def test_a_user_sends_the_turns_of_a_conversation_one_after_the_other() -> None:
    """Two users; conversation A has the turns 0, 2 and 4, the requests 1, 3 and 5 stand alone. Each takes 10 ns, B's user is free first."""
    shape = ClosedShape(6, 2)
    shape.use_conversations([[0, 2, 4], [1], [3], [5]])
    rows = play(shape, [10, 4, 10, 4, 10, 4])
    assert [(sent, ended) for sent, _, ended in rows] == [(0, 10), (0, 4), (10, 20), (4, 8), (20, 30), (8, 12)]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(1, 6), st.integers(0, 5))
def test_no_turn_is_sent_before_the_answer_to_the_one_before_it(lengths: list[int], users: int, think_ns: int) -> None:
    ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
    conversations = [list(range(end - length, end)) for end, length in zip(ends, lengths, strict=True)]
    shape = ClosedShape(ends[-1], users, think_time_s=think_ns * 1e-9)
    shape.use_conversations(conversations)
    rows = play(shape, [7 + 3 * (position % 4) for position in range(ends[-1])])
    assert len(rows) == ends[-1]
    for turns in conversations:
        for before, after in pairwise(turns):
            assert rows[after][0] >= rows[before][2] + think_ns


def test_offline_sends_everything_at_once() -> None:
    shape = make_shape(OfflineLoad(requests=5, max_concurrency=2))
    assert {sent for sent, _, _ in play(shape, [5, 4, 3, 2, 1])} == {0}
    assert shape.max_concurrency == 2


def test_a_stopped_shape_sends_nothing_more_and_ends_with_what_is_under_way() -> None:
    shape = StaticShape(10, 2)
    shape.begin(0)
    assert [list(send.requests) for send in shape.due(0)] == [[0, 1]]
    shape.stop()
    assert not shape.done
    shape.finished(5, 0)
    shape.finished(6, 1)
    assert shape.done
    assert shape.due(7) == []


@pytest.mark.parametrize("load", [StaticLoad(batch_size=0), ClosedLoad(concurrency=-1), StaticLoad(requests=0)])
def test_a_load_that_makes_no_request_is_refused_with_what_to_type(load: StaticLoad) -> None:
    with pytest.raises(BadInput) as caught:
        make_shape(load)
    assert "load." in caught.value.lines()[1]
