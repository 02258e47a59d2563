"""The tokenizer of the simulated engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import BadInput
from tpb_sim.tokenizer import VOCABULARY_TOKENS, SimTokenizer

TOKENIZER = SimTokenizer()


@given(st.text())
def test_decoding_gives_the_text_back(text: str) -> None:
    ids = TOKENIZER.encode([text])[0]
    assert TOKENIZER.decode([ids]) == [text]
    assert all(0 <= token < VOCABULARY_TOKENS for token in ids)


@given(st.text(st.characters(max_codepoint=127), min_size=1), st.data())
def test_the_beginning_of_the_ids_is_the_beginning_of_the_text(text: str, data: st.DataObject) -> None:
    ids = TOKENIZER.encode([text])[0]
    cut = data.draw(st.integers(0, len(ids)))
    beginning = TOKENIZER.decode([ids[:cut]])[0]
    assert text.startswith(beginning)
    assert TOKENIZER.encode([beginning])[0] == ids[:cut]


def test_english_takes_one_to_two_tokens_a_word() -> None:
    text = "The quick brown fox jumps over the lazy dog and does not look back at all"
    assert 1.0 <= len(TOKENIZER.encode([text])[0]) / len(text.split()) <= 2.5


def test_chat_is_rendered_once_with_the_opening_of_the_answer() -> None:
    ids = TOKENIZER.render_chat([[{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]])[0]
    assert TOKENIZER.decode([ids]) == ["Be short.Hi"]
    assert len(ids) == len(TOKENIZER.encode(["Be short."])[0]) + len(TOKENIZER.encode(["Hi"])[0]) + 5
    with pytest.raises(BadInput, match="role"):
        TOKENIZER.render_chat([[{"role": "robot", "content": "Hi"}]])


def test_unknown_ids_are_refused() -> None:
    with pytest.raises(BadInput, match="not a token id"):
        TOKENIZER.decode([[VOCABULARY_TOKENS]])
