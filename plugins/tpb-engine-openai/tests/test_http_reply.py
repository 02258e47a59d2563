"""HTTP replies and event streams: the same whatever the pieces, and an error with a name for everything else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_engine_openai.http_reply import BadReply, HttpReply
from tpb_engine_openai.sse import EventStream, EventTooLarge

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[low:high] for low, high in pairwise(edges)]


def read(pieces: list[bytes]) -> tuple[HttpReply, bytes]:
    reply = HttpReply()
    return reply, b"".join(reply.feed(piece) for piece in pieces)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_chunked_bodies_come_back_whatever_the_pieces(chunks: list[bytes], places: list[int]) -> None:
    coded = b"".join(b"%X;name=value\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    data = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\nTrailer: x\r\n\r\n"
    reply, body = read(cut(data, places))
    assert (reply.status, reply.complete, reply.keep_alive, body) == (200, True, True, b"".join(chunks))
    reply.end()


@given(st.binary(max_size=80), st.lists(st.integers(0, 10_000), max_size=6), st.booleans())
def test_bodies_of_known_length_and_bodies_that_end_with_the_connection(body: bytes, places: list[int], known: bool) -> None:
    data = HEAD + (b"Content-Length: %d\r\n" % len(body) if known else b"") + b"\r\n" + body
    reply, found = read(cut(b"HTTP/1.1 100 Continue\r\n\r\n" + data, places))
    assert found == body
    assert reply.complete == known
    reply.end()
    assert reply.complete
    assert reply.keep_alive == known
    if known and body:
        half, _ = read([data[:-1]])
        with pytest.raises(BadReply, match="middle"):
            half.end()


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_any_bytes_are_a_reply_a_named_error_or_nothing_yet(noise: bytes, places: list[int]) -> None:
    for data in (noise, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + noise, HEAD + noise):
        reply = HttpReply()
        try:
            for piece in cut(data, places):
                reply.feed(piece)
            reply.end()
        except BadReply:
            continue


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not a reply of HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", "not a header"),
        (HEAD + b"Content-Length: -3\r\n\r\n", "no number"),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", "was not asked for"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", "not a chunk size"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", "longer than it says"),
        (b"x" * 70_000, "has no end"),
    ],
)
def test_what_is_no_http_is_named(data: bytes, words: str) -> None:
    with pytest.raises(BadReply, match=words):
        read([data])


_LINE = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20)


@given(st.lists(st.lists(_LINE, min_size=1, max_size=3), max_size=5), st.lists(st.integers(0, 10_000), max_size=8), st.booleans())
def test_events_come_back_whatever_the_pieces(events: list[list[str]], places: list[int], crlf: bool) -> None:
    end = "\r\n" if crlf else "\n"
    text = "".join(f": a comment{end}event: x{end}" + "".join(f"data: {line}{end}" for line in event) + end for event in events)
    stream = EventStream()
    found = [event for piece in cut(b"\xef\xbb\xbf" + text.encode(), places) for event in stream.feed(piece)]
    assert found == ["\n".join(event).encode() for event in events]
    assert stream.end() == []


@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_nothing(noise: bytes) -> None:
    stream = EventStream()
    assert all(isinstance(event, bytes) for event in [*stream.feed(noise), *stream.end()])


def test_an_event_that_the_server_did_not_close_counts_at_the_end() -> None:
    stream = EventStream()
    assert stream.feed(b"data: [DO") == []
    assert stream.feed(b"NE]\n") == []
    assert stream.end() == [b"[DONE]"]


def test_an_event_without_an_end_is_refused() -> None:
    stream = EventStream()
    with pytest.raises(EventTooLarge):
        stream.feed(b"data: " + b"x" * (1 << 26))
