"""When a sequence ends: by an end token, a stop string, or its length."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import Request, Sampling
from tpb_engine_hf.rows import Row, rows_of, text_before_stop

END = 0


def letters(ids: Sequence[int]) -> str:
    return "".join(chr(token) for token in ids if token != END)


def row(limit: int, stop: tuple[str, ...] = (), exact: bool = False) -> Row:
    request = Request(4, "r", Sampling(limit, exact_output_length=exact, stop=stop))
    (made,) = rows_of([request], [[1, 2]], frozenset({END}), 1)
    return made


def test_an_end_token_ends_and_counts() -> None:
    made = row(9)
    assert made.take([ord("a"), END, ord("b")], 5, letters) == 2
    assert (made.ended, made.ended_ns, made.ended_by_itself) == ("stop", 5, True)
    assert made.take([ord("b")], 6, letters) == 0


def test_an_exact_length_runs_past_end_tokens() -> None:
    made = row(3, exact=True)
    assert made.take([END, END, END, END], 5, letters) == 3
    assert made.ended == "length"


def test_a_stop_string_ends_with_the_token_that_completes_it() -> None:
    made = row(99, stop=("lo w", "zz"))
    assert made.take([ord(letter) for letter in "hello world"], 1, letters) == len("hello w")
    assert (made.ended, made.ended_by_itself) == ("stop", False)
    assert text_before_stop(letters(made.output), made.stop) == "hel"


@given(st.text("abc", min_size=1, max_size=40), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.integers(1, 40))
def test_stop_strings_are_found_where_the_text_has_them(text: str, stop: list[str], limit: int) -> None:
    made = row(limit, stop=tuple(stop))
    taken = made.take([ord(letter) for letter in text], 1, letters)
    ends = [text.find(mark) + len(mark) for mark in stop if mark in text]
    assert taken == min([len(text), limit, *ends])
    assert made.ended == ("stop" if ends and min(ends) <= limit else "length" if limit <= len(text) else None)
