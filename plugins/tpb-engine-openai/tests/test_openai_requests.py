"""What becomes of a request: counts, stamps, sampling in words of the server, and every way in which it can fail."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tpb_core.api import BadInput, EventCode
from tpb_core.testing.openai_double import OpenAiDouble

Open = Callable[..., Any]


def test_tokens_that_come_together_repeat_the_stamp(open_desk: Open) -> None:
    desk = open_desk(double={"together": 4})
    sink = desk.run()
    assert [count for _, count, _ in sink.requests[0].tokens] == [4, 2]
    assert sink.requests[0].output_tokens == 6
    assert len(sink.requests[0].ids) == 6


def test_the_stand_in_stamps_requests_of_any_client_in_the_order_of_arrival(
    open_desk: Open, new_double: Callable[..., OpenAiDouble]
) -> None:
    """What clients are compared by: the first token leaves 50 ms after the request was there, and is stamped by us after that."""
    double = new_double(first_token_s=0.05)
    desk = open_desk(url=double.url)
    begin_ns = time.monotonic_ns()
    sink = desk.run(desk.ask(0), desk.ask(1))
    told = double.counters.take_stamps()
    assert told["most_running"] == 2
    (arrived_ns, answered_ns), (later_ns, _) = told["stamps"]
    assert begin_ns < arrived_ns <= later_ns < answered_ns
    assert answered_ns - arrived_ns >= 49_000_000
    assert answered_ns <= sink.requests[0].tokens[0][0]
    assert double.counters.take_stamps()["stamps"] == []


def test_without_counts_there_is_a_first_output_and_no_stamp(open_desk: Open) -> None:
    sink = open_desk(double={"no_counts": True}).run()
    recorded = sink.requests[0]
    assert recorded.tokens == []
    assert recorded.first_output_ns is not None
    assert recorded.first_output_ns < recorded.finished_ns
    assert (recorded.output_tokens, recorded.input_tokens) == (6, 51)  # the usage of the last event
    assert sink.events == []


def test_without_any_count_the_number_of_tokens_is_null(open_desk: Open) -> None:
    desk = open_desk(double={"no_counts": True, "no_usage": True}, tokenizer="none")
    recorded = desk.run(desk.ask(max_output_tokens=100, exact_output_length=False)).requests[0]
    assert (recorded.status, recorded.input_tokens, recorded.output_tokens, recorded.cached_tokens) == ("ok", None, None, None)


def test_usage_alone_gives_stamps_by_its_increments(open_desk: Open, new_double: Callable[..., OpenAiDouble]) -> None:
    double = new_double(owner="sglang")
    recorded = open_desk(url=double.url).run().requests[0]
    body = double.counters.received[-1][1]
    assert body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert "return_token_ids" not in body
    assert recorded.counted_tokens == recorded.output_tokens == 6
    assert recorded.ids == []


@pytest.mark.parametrize(("stream", "double"), [(True, {}), (True, {"no_usage": True}), (False, {})])
def test_several_sequences_are_counted_together(
    open_desk: Open, new_double: Callable[..., OpenAiDouble], stream: bool, double: dict[str, Any]
) -> None:
    """Usage of a chunk is that of one sequence; the last event has the sum, and without it each sequence ends at its limit of six."""
    desk = open_desk(url=new_double(owner="sglang").url, stream=stream, double=double)
    recorded = desk.run(desk.ask(n=2, temperature=1.0, exact_output_length=False, max_output_tokens=6)).requests[0]
    assert (recorded.status, recorded.sequences, recorded.tokens) == ("ok", 2, [])
    assert recorded.output_tokens == 12


def test_an_answer_in_one_piece_has_counts_and_no_stamps(open_desk: Open) -> None:
    desk = open_desk(stream=False)
    assert not desk.engine.own_capabilities().token_stamps
    recorded = desk.run().requests[0]
    assert (recorded.status, recorded.output_tokens, recorded.tokens, recorded.first_output_ns) == ("ok", 6, [], None)
    assert recorded.text


def test_the_servers_own_times_become_queued_and_started(open_desk: Open) -> None:
    """The stand-in says: 2 ms from arrival to the first token, a quarter of it in the queue."""
    recorded = open_desk().run().requests[0]
    assert recorded.first_token_ns - recorded.queued_ns == 2_000_000
    assert recorded.started_ns - recorded.queued_ns == 500_000
    assert open_desk(double={"no_metrics": True}).run().requests[0].started_ns is None


@pytest.mark.parametrize(
    ("double", "words"),
    [
        ({"usage_off_by": 2}, "8 came"),
        ({"prompt_off_by": 1}, "server counts 52 input tokens and we count 51"),
    ],
)
def test_counts_that_disagree_are_events(open_desk: Open, double: dict[str, int], words: str) -> None:
    desk = open_desk(double=double)
    sink = desk.run(desk.ask(input_ids=list(range(51))))
    assert any(code == EventCode.TOKENS_DIFFER and words in message for code, message, _ in sink.events)


def test_cached_prompt_tokens_are_told_and_an_event_where_nobody_asked_for_a_cache(open_desk: Open) -> None:
    sink = open_desk(double={"cached": 16}).run()
    assert sink.requests[0].cached_tokens == 16
    assert [code for code, _, _ in sink.events] == [EventCode.PREFIX_REUSED]
    sink = open_desk(double={"cached": 16}, prefix_cache=True).run()
    assert sink.events == []
    assert open_desk(double={"no_cached": True}).run().requests[0].cached_tokens is None


def test_every_choice_that_the_server_could_make_is_made_for_it(open_desk: Open, new_double: Callable[..., OpenAiDouble]) -> None:
    double = new_double()
    desk = open_desk(url=double.url)
    desk.run(desk.ask(0), desk.ask(1, temperature=0.7, top_p=0.9, top_k=5, seed=3, stop=("#",), n=2, exact_output_length=False))
    plain, rich = (body for _, body in double.counters.received)
    assert plain["prompt"] == "The keeper of the lighthouse wrote down every ship."
    assert {name: plain[name] for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_tokens")} == {
        "temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "max_tokens": 6,
    }  # fmt: skip
    assert (plain["ignore_eos"], plain["min_tokens"]) == (True, 6)
    assert not {"n", "seed", "stop"} & set(plain)
    assert {name: rich[name] for name in ("temperature", "top_p", "top_k", "seed", "stop", "n")} == {
        "temperature": 0.7, "top_p": 0.9, "top_k": 5, "seed": 3, "stop": ["#"], "n": 2,
    }  # fmt: skip
    assert "ignore_eos" not in rich
    desk.run(desk.ask(2, stop=("#",)))
    stopped = double.counters.received[-1][1]
    assert (stopped["ignore_eos"], stopped["stop"], "min_tokens" in stopped) == (True, ["#"], False)  # it would keep stop strings off
    assert plain["cache_salt"] != rich["cache_salt"]  # no request reuses the KV cache of another


def test_a_kind_without_exact_lengths_does_not_claim_them(open_desk: Open, new_double: Callable[..., OpenAiDouble]) -> None:
    capabilities = open_desk(url=new_double(owner="nobody", missing=frozenset({"/tokenize"})).url).engine.own_capabilities()
    assert not capabilities.exact_output_length
    assert not capabilities.token_input
    assert "top_k" not in capabilities.sampling


def test_chat_sends_messages_and_refuses_what_it_cannot_take(open_desk: Open, new_double: Callable[..., OpenAiDouble]) -> None:
    double = new_double()
    desk = open_desk(url=double.url, api="chat")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    desk.run(desk.ask(0), desk.ask(1, messages=messages))
    assert [body["messages"] for _, body in double.counters.received] == [[{"role": "user", "content": desk.ask().text}], messages]
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]
    with pytest.raises(BadInput, match="multimodal"):
        desk.run(desk.ask(2, messages=picture))
    with pytest.raises(BadInput, match="token ids"):
        desk.run(desk.ask(3, input_ids=[1, 2]))
    completions = open_desk(url=double.url)
    with pytest.raises(BadInput, match="chat messages"):
        completions.run(completions.ask(4, messages=messages))


@pytest.mark.parametrize(
    ("double", "status", "words"),
    [
        ({"status": 429}, "rejected", "HTTP 429: as you asked"),
        ({"status": 503}, "rejected", "HTTP 503"),
        ({"status": 400}, "error", "HTTP 400"),
        ({"status": 500}, "error", "HTTP 500"),
        ({"drop_after": 0}, "error", "middle of the reply"),
        ({"drop_after": 3}, "error", "middle of the reply"),
        ({"drop_after": 3, "reset": True}, "error", "reply|lost"),
        ({"malformed_after": 2}, "error", "no JSON object"),
        ({"error_after": 2}, "error", "out of memory"),
        ({"silent": True}, "timeout", "not answered within 0.4 s"),
        ({"quiet_after": 3}, "timeout", "not answered within 0.4 s"),
    ],
)
def test_every_failure_is_a_row_with_its_status(open_desk: Open, double: dict[str, Any], status: str, words: str) -> None:
    import re

    desk = open_desk(double=double, request_timeout_s=0.4)
    recorded = desk.run().requests[0]
    assert recorded.status == status
    assert re.search(words, recorded.error), recorded.error
    whole = next((value for name, value in double.items() if name.endswith("_after")), 0)
    assert recorded.counted_tokens == whole  # what came before the failure stays


def test_nothing_is_sent_twice(open_desk: Open, new_double: Callable[..., OpenAiDouble]) -> None:
    double = new_double()
    desk = open_desk(url=double.url, double={"drop_after": 0, "reset": True})
    desk.run(*(desk.ask(number) for number in range(5)))
    assert len(double.counters.received) == 5


def test_a_server_that_is_gone_gives_rows_with_an_error(open_desk: Open, new_double: Callable[..., OpenAiDouble]) -> None:
    double = new_double()
    desk = open_desk(url=double.url)
    double.__exit__()
    recorded = desk.run().requests[0]
    assert (recorded.status, "no connection" in recorded.error) == ("error", True)


def test_a_server_that_speaks_another_language(open_desk: Open, new_double: Callable[..., OpenAiDouble]) -> None:
    """It answered the questions, and then something else took its port."""
    double = new_double()
    desk = open_desk(url=double.url)
    with socket.create_server(("127.0.0.1", 0)) as other:
        desk.engine._client._address = type(desk.engine._client._address)(False, "127.0.0.1", other.getsockname()[1])

        def speak() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
                time.sleep(0.2)

        thread = threading.Thread(target=speak)
        thread.start()
        recorded = desk.run().requests[0]
        thread.join()
    assert (recorded.status, "not a reply of HTTP" in recorded.error) == ("error", True)


def test_cancelling_closes_the_stream_at_the_server(open_desk: Open, new_double: Callable[..., OpenAiDouble]) -> None:
    double = new_double(token_s=0.02)
    desk = open_desk(url=double.url)
    desk.engine.submit([desk.ask(0, max_output_tokens=500)], desk.sink)
    while not desk.sink.requests.get(0):
        desk.engine.advance(desk.sink, time.monotonic_ns() + 10_000_000)
    desk.engine.cancel([0], desk.sink)
    while desk.engine.advance(desk.sink, time.monotonic_ns() + 10_000_000):
        pass
    assert desk.sink.requests[0].status == "cancelled"
    deadline = time.monotonic() + 5
    while not double.counters.closed_early and time.monotonic() < deadline:
        time.sleep(0.01)
    assert double.counters.closed_early == 1


def test_a_thousand_streams_at_once(open_desk: Open, new_double: Callable[..., OpenAiDouble]) -> None:
    double = new_double(first_token_s=3.0, token_s=0.5)
    desk = open_desk(url=double.url)
    sink = desk.run(*(desk.ask(number, max_output_tokens=3) for number in range(1000)), patience_s=60)
    assert double.counters.most_running == 1000
    assert all(recorded.status == "ok" and recorded.counted_tokens == 3 for recorded in sink.requests.values())
    assert len(sink.requests) == 1000


def test_a_prompt_of_fifty_thousand_tokens(open_desk: Open) -> None:
    desk = open_desk()
    recorded = desk.run(desk.ask(input_ids=[n % 256 for n in range(50_000)])).requests[0]
    assert (recorded.status, recorded.input_tokens) == ("ok", 50_000)
