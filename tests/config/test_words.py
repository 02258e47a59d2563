"""Words of the command line, whatever they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api.errors import BadInput
from tpb_core.config.words import for_hydra, read_word


@pytest.mark.parametrize(
    ("typed", "hydra"),
    [
        ("engine=x", "engine=x"),
        ("+engine=x", "engine=x"),
        ("++engine=x", "engine=x"),
        ("+meter=[a,b]", "meter=[a,b]"),
        ("meter=null", "meter=[]"),
        ("experiment=null", "experiment=[]"),
        ("engine={threads: 2}", "++engine={threads: 2}"),
        ("load.batch_size=8", "++load.batch_size=8"),
        ("+load.batch_size=8", "++load.batch_size=8"),
        ("engine.model=a=b", '++engine.model="a=b"'),
        ("engine.model=range(1,3)", "++engine.model=range(1,3)"),
        ("engine.command=serve M --port {port}", '++engine.command="serve M --port {port}"'),
        ("engine.extra={a: b=c}", "++engine.extra={a: b=c}"),
        ("~load.batch_size", "~load.batch_size"),
        ("site=hall3", "+site=hall3"),
        ("+site=hall3", "+site=hall3"),
    ],
)
def test_each_spelling_becomes_the_one_that_hydra_wants(typed: str, hydra: str) -> None:
    assert for_hydra([typed], extra_groups={"site"}) == [hydra]


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("engine=x", ["x"]),
        ("+meter=[a, b]", ["a", "b"]),
        ("meter=a,b", ["a", "b"]),
        ("load.requests=3", []),
        ("meter=null", []),
        ("~engine", []),
    ],
)
def test_names_that_a_word_chooses(typed: str, names: list[str]) -> None:
    assert read_word(typed).names == names


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        word = read_word(text)
    except BadInput:
        return
    rest = "" if word.value is None else f"={word.value}"
    assert word.key
    assert f"{word.sign}{word.key}{rest}" == text
