"""The pipe protocol: whole messages whatever the cuts, no deadlock of two writers, a clear end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api.errors import BadInput, MeasurementFailed, Refused
from tpb_core.run.messages import Connection, ConnectionLost, error_message, raise_error

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


def pair() -> tuple[Connection, Connection]:
    a_read, b_write = os.pipe()
    b_read, a_write = os.pipe()
    return Connection(a_read, a_write), Connection(b_read, b_write)


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    a, b = pair()
    yield a, b
    a.close()
    b.close()


@given(st.lists(JSON, min_size=1, max_size=5))
def test_messages_arrive_whole_and_in_order(contents: list[object]) -> None:
    a, b = pair()
    try:
        for content in contents:
            a.send({"kind": "x", "content": content})
        assert [b.receive(1.0) for _ in contents] == [{"kind": "x", "content": content} for content in contents]
        assert b.receive(0.0) is None
    finally:
        a.close()
        b.close()


def test_two_ends_that_both_write_more_than_a_pipe_holds_do_not_wait_for_ever(ends: tuple[Connection, Connection]) -> None:
    a, b = ends
    large = "x" * 3_000_000
    got_b: list[object] = []

    def speak_then_listen() -> None:
        b.send({"kind": "b", "content": large})
        got_b.append(b.receive(10.0))

    other = threading.Thread(target=speak_then_listen, daemon=True)
    other.start()
    a.send({"kind": "a", "content": large})
    got_a = a.receive(10.0)
    other.join(10.0)
    assert got_a == {"kind": "b", "content": large}
    assert got_b == [{"kind": "a", "content": large}]


def test_an_end_that_is_gone_is_noticed_by_reader_and_writer(ends: tuple[Connection, Connection]) -> None:
    a, b = ends
    b.close()
    with pytest.raises(ConnectionLost):
        a.receive(1.0)
    with pytest.raises(ConnectionLost):
        a.send({"kind": "x"})


def test_something_else_in_the_pipe_is_not_taken_for_a_message() -> None:
    read_fd, write_fd = os.pipe()
    connection = Connection(read_fd, os.open(os.devnull, os.O_WRONLY))
    os.write(write_fd, b"WARNING: a library prints to standard output\n")
    with pytest.raises(ConnectionLost, match="not one of ours"):
        connection.receive(1.0)
    os.close(write_fd)
    connection.close()


@pytest.mark.parametrize(("kind", "seen"), [(BadInput, BadInput), (Refused, Refused), (MeasurementFailed, MeasurementFailed)])
def test_errors_keep_their_kind_and_advice_across_the_pipe(kind: type, seen: type) -> None:
    with pytest.raises(seen) as caught:
        raise_error(error_message(kind("no such model", "Type engine.model=...", ["Seen: a, b"]), "loading", "tpb-x"))
    assert caught.value.lines() == ["no such model", "Type engine.model=...", "Seen: a, b"]


def test_a_fault_of_a_plugin_names_its_distribution_and_phase() -> None:
    with pytest.raises(MeasurementFailed, match="tpb-engine-x failed while loading the model: ZeroDivisionError"):
        raise_error(error_message(ZeroDivisionError("oops"), "loading the model", "tpb-engine-x"))
