"""Several values of a word are several points, with `-m` only."""

from __future__ import annotations

import pytest

from tpb_core.api.errors import BadInput
from tpb_core.config.sweep import expand


def test_the_product_of_all_axes_with_the_last_fastest() -> None:
    points = expand(["+engine=a,b", "load.requests=4", "load.batch_size=1,2"], multirun=True)
    assert points == [
        ["engine=a", "load.requests=4", "load.batch_size=1"],
        ["engine=a", "load.requests=4", "load.batch_size=2"],
        ["engine=b", "load.requests=4", "load.batch_size=1"],
        ["engine=b", "load.requests=4", "load.batch_size=2"],
    ]


@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("load.batch_size=range(1,4)", ["1", "2", "3"]),
        ("load.batch_size=choice(1,8)", ["1", "8"]),
        ("meter=[a,b],[c]", ["[a,b]", "[c]"]),
        ("engine.model='a,b',c", ["'a,b'", "c"]),
        ("load=glob(sta*)", ["static"]),
    ],
)
def test_what_hydra_calls_a_sweep_is_one(word: str, values: list[str]) -> None:
    key = word.split("=", 1)[0]
    assert expand([word], multirun=True) == [[f"{key}={value}"] for value in values]


@pytest.mark.parametrize("word", ["meter=[a,b]", "engine.model=/a/b.gguf", "sampling.stop=['x','y']", "~engine", "engine.model=a(b"])
def test_lists_and_paths_are_one_value(word: str) -> None:
    assert expand([word], multirun=True) == expand([word], multirun=False) == [[word]]


def test_the_home_folder_is_understood_in_a_list_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    points = expand(["engine.model=~/a.gguf,~/b.gguf"], multirun=True)
    assert points == [["engine.model=/home/x/a.gguf"], ["engine.model=/home/x/b.gguf"]]


def test_several_values_without_m_say_what_to_type() -> None:
    with pytest.raises(BadInput) as caught:
        expand(["meter=rapl,nvml"], multirun=False)
    message = "\n".join(caught.value.lines())
    assert "tpb -m meter=rapl,nvml" in message
    assert "'meter=[rapl,nvml]'" in message


@pytest.mark.parametrize("word", ["run.repeats=1,2", "out.dir=a,b", "run.order=random,abba"])
def test_the_plan_itself_is_not_swept(word: str) -> None:
    with pytest.raises(BadInput, match="takes one value"):
        expand([word], multirun=True)


def test_an_interval_cannot_be_enumerated() -> None:
    with pytest.raises(BadInput, match="interval"):
        expand(["engine.token_ms=interval(1,2)"], multirun=True)
