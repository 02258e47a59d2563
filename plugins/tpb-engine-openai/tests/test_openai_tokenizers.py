"""Counts of a server against a tokenizer of our own; and which tokenizer is used where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, EventCode
from tpb_core.testing.openai_double import OpenAiDouble

Open = Callable[..., Any]
Start = Callable[..., OpenAiDouble]


@pytest.fixture
def letters(tmp_path: Path) -> str:
    """A tokenizer.json that makes one token of each byte, as the stand-in does."""
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return str(path)


def test_input_of_text_prompts_is_counted_with_our_tokenizer(open_desk: Open, new_double: Start, letters: str) -> None:
    url = new_double(owner="someone").url
    desk = open_desk(url=url, tokenizer=letters)
    assert desk.description.tokenizer["source"] == "file"
    assert not desk.engine.own_capabilities().token_input  # nobody knows whether this server takes ids
    sink = desk.run(desk.ask(exact_output_length=False, text="Grüße"))
    assert sink.requests[0].input_tokens == 7
    assert not [event for event in sink.events if "input" in event[1]]
    sink = open_desk(url=url, tokenizer=letters, double={"prompt_off_by": 1}).run()
    assert any(code == EventCode.TOKENS_DIFFER and "52 input tokens and we count 51" in words for code, words, _ in sink.events)


def test_output_without_any_count_is_what_our_tokenizer_makes_of_it(open_desk: Open, new_double: Start, letters: str) -> None:
    """Twelve pieces such as `a0 ` and then an end by itself: 10 of three letters and 2 of four."""
    double = new_double(owner="someone")
    desk = open_desk(url=double.url, tokenizer=letters, double={"no_counts": True, "no_usage": True})
    recorded = desk.run(desk.ask(exact_output_length=False, max_output_tokens=100)).requests[0]
    assert (recorded.reason, recorded.output_tokens) == ("stop", 38)


def test_output_that_ends_at_its_limit_is_as_long_as_the_limit(open_desk: Open, new_double: Start) -> None:
    url = new_double(owner="someone").url
    desk = open_desk(url=url, double={"no_counts": True, "no_usage": True})
    sink = desk.run(desk.ask(0, exact_output_length=False), desk.ask(1, exact_output_length=False, max_output_tokens=100))
    assert [sink.requests[n].output_tokens for n in (0, 1)] == [6, None]


def test_usage_that_the_text_contradicts_is_an_event(open_desk: Open, new_double: Start, letters: str) -> None:
    """The stand-in's tokens are words to this tokenizer of letters: six of them make 18 letters."""
    url = new_double(owner="someone").url
    desk = open_desk(url=url, tokenizer=letters)
    sink = desk.run(desk.ask(exact_output_length=False))
    assert [words for code, words, _ in sink.events if code == EventCode.TOKENS_DIFFER] == [
        "the server counts 6 output tokens and its text makes 18"
    ]


def test_ids_are_sent_with_a_tokenizer_from_a_file(open_desk: Open, new_double: Start, letters: str) -> None:
    desk = open_desk(url=new_double(missing=frozenset({"/tokenize"})).url, tokenizer=letters)
    assert desk.engine.own_capabilities().token_input
    tokenizer = desk.engine.tokenizer()
    assert tokenizer.decode(tokenizer.encode(["Ein Satz."])) == ["Ein Satz."]
    with pytest.raises(BadInput, match="no chat template"):
        tokenizer.render_chat([[{"role": "user", "content": "Hello"}]])


def test_without_a_tokenizer_text_is_sent(open_desk: Open, new_double: Start) -> None:
    desk = open_desk(url=new_double(missing=frozenset({"/tokenize"})).url)
    assert not desk.engine.own_capabilities().tokenizer
    with pytest.raises(BadInput, match="no tokenizer"):
        desk.engine.tokenizer()


@pytest.mark.parametrize("content", ["{}", "no json", '{"model": 3}'])
def test_files_that_are_no_tokenizer(open_desk: Open, tmp_path: Path, content: str) -> None:
    pytest.importorskip("tokenizers", reason="pip install tokenizers")
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(BadInput, match=r"engine\.tokenizer="):
        open_desk(tokenizer=str(tmp_path))
