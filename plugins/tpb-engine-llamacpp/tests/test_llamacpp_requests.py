"""What one request means to the llama.cpp engine: its tokens, its end, its sampling, its template."""

from __future__ import annotations

from typing import Any

import pytest

from tpb_core.api import Request, Sampling

pytestmark = pytest.mark.real_engine


def test_each_sequence_gets_its_own_tokens(desk: Any) -> None:
    texts = ["1, 2, 3, 4, 5, 6,", "Monday, Tuesday, Wednesday, Thursday,", "a b c d e f g"]
    requests = [desk.ask(i, ids, max_output_tokens=3) for i, ids in enumerate(desk.tokenizer.encode(texts))]
    together, apart = desk.batch(requests), [desk.batch([request]) for request in requests]
    assert [together.ids[i] for i in range(3)] == [apart[i].ids[i] for i in range(3)]
    assert "7" in str(together.done[0]["text"])
    assert "Friday" in str(together.done[1]["text"])


def test_exact_length_goes_on_where_the_natural_end_would_be(desk: Any) -> None:
    ids = desk.tokenizer.render_chat([[{"role": "user", "content": "What is 2+2?"}]])[0]
    record = desk.batch([desk.ask(0, ids, max_output_tokens=40, exact_output_length=False)])
    assert record.done[0]["reason"] == "stop"
    natural = record.done[0]["output_tokens"]
    assert natural < 40
    assert desk.tokenizer.decode([record.ids[0][-1:]]) == ["<|im_end|>"]
    exact = desk.batch([desk.ask(0, ids, max_output_tokens=natural + 5)])
    assert exact.done[0]["output_tokens"] == natural + 5
    assert exact.ids[0][:natural] == record.ids[0]


def test_sampling_is_seeded_and_top_k_1_is_greedy(desk: Any) -> None:
    ids = desk.ids(24)
    drawn = [
        desk.stream([desk.ask(0, ids, max_output_tokens=12, temperature=1.5, top_p=0.99, top_k=200, seed=seed)]).ids[0]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    greedy, narrow = (desk.batch([desk.ask(0, ids, **options)]).ids[0] for options in ({}, {"temperature": 2.0, "top_k": 1}))
    assert greedy == narrow
    mixed = desk.batch([desk.ask(0, ids), desk.ask(1, ids, temperature=1.5, seed=5)])
    assert {row["output_tokens"] for row in mixed.done.values()} == {6}


def test_a_stop_string_ends_a_request_and_is_cut_off(desk: Any) -> None:
    ids = desk.tokenizer.encode(["one two three four five six seven eight\none two three four five six seven eight\none two three"])[0]
    record = desk.stream([desk.ask(0, ids, max_output_tokens=20, stop=("e six",))])
    assert record.done[0]["reason"] == "stop"
    assert record.done[0]["text"].endswith("fiv")
    assert record.done[0]["output_tokens"] == 3


def test_bad_requests_are_rejected(desk: Any) -> None:
    record = desk.stream([desk.ask(0, []), desk.ask(1, [5, 10**6]), desk.ask(2, [5], n=2), desk.ask(3, [5])])
    assert {r: status for r, (status, _) in record.failures.items()} == {0: "rejected", 1: "rejected", 2: "rejected"}
    assert list(record.done) == [3]


def test_the_chat_template_is_applied_once_and_recorded(desk: Any) -> None:
    tokenizer = desk.tokenizer
    (ids,) = tokenizer.render_chat([[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]])
    expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode([ids]) == [expected]
    assert tokenizer.encode([expected]) == [ids]
    text = "Grüße, 日本 🚀"
    assert tokenizer.decode(tokenizer.encode([text])) == [text]
    by_message = Request(0, "q", Sampling(2, exact_output_length=True), messages=[{"role": "user", "content": "Why?"}])
    assert desk.batch([by_message]).done[0]["input_tokens"] == len(tokenizer.render_chat([by_message.messages or []])[0])
