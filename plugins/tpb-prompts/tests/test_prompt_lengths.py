"""`prompts=builtin` and `prompts=synthetic`: the set, exact lengths, no common beginnings, the same prompts for the same seed."""

from __future__ import annotations

import random
import re
import statistics
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpb_core.api import BadInput, PromptContext, Refused
from tpb_prompts.builtin import BuiltinConfig, BuiltinPrompts
from tpb_prompts.lengths import Lengths
from tpb_prompts.synthetic import SyntheticConfig, SyntheticPrompts, passages_of

# a shared machine: slow inputs are no finding
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class WordTokenizer:
    """A tokenizer of words and white space: enough to count with."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[self.ids.setdefault(word, len(self.ids)) for word in re.findall(r"\s*\w+|\s*[^\w\s]|\s+", text)] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        words = list(self.ids)
        return ["".join(words[i] for i in row) for row in ids]

    def render_chat(self, conversations: Sequence[Sequence[dict[str, object]]]) -> list[list[int]]:
        return self.encode(["\n".join(str(m["content"]) for m in c) for c in conversations])


def builtin(seed: int = 0, **options: object) -> BuiltinPrompts:
    return BuiltinPrompts(BuiltinConfig(**options), PromptContext(seed=seed))  # type: ignore[arg-type]


def synthetic(seed: int = 0, **options: object) -> SyntheticPrompts:
    return SyntheticPrompts(SyntheticConfig(**options), PromptContext(seed=seed, tokenizer=WordTokenizer()))  # type: ignore[arg-type]


def test_the_builtin_set_is_large_and_varied() -> None:
    prompts = list(builtin().prompts(1000))
    texts = [p.messages[0]["content"] for p in prompts if p.messages]
    words = [len(text.split()) for text in texts]
    assert len(prompts) >= 60
    assert len(set(texts)) == len({p.prompt_id for p in prompts}) == len(prompts)
    assert min(words) <= 10
    assert max(words) >= 250
    assert len({p.task for p in prompts}) >= 8
    assert max(Counter(p.task for p in prompts).values()) <= len(prompts) / 4


def test_builtin_options() -> None:
    assert {p.task for p in builtin(tasks=["code"]).prompts(99)} == {"code"}
    assert next(builtin(as_chat=False).prompts(1)).text
    assert len(list(builtin().prompts(5))) == 5
    with pytest.raises(BadInput, match="no task 'coed'") as caught:
        list(builtin(tasks=["coed"]).prompts(1))
    assert "code" in str(caught.value.fix)
    orders = [[p.prompt_id for p in builtin(seed, shuffle=True).prompts(99)] for seed in (3, 3, 4)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("length", [1, 17, 256, 20_000])
def test_fixed_lengths_are_exact(length: int) -> None:
    prompts = list(synthetic(input_tokens=length, output_tokens=9).prompts(5))
    assert [len(p.input_ids or ()) for p in prompts] == [length] * 5
    assert [p.output_tokens for p in prompts] == [9] * 5


def test_same_seed_same_prompts_and_more_prompts_begin_with_the_same() -> None:
    options = {"input_distribution": "normal", "output_distribution": "uniform", "output_tokens": 20, "input_tokens": 60}
    first, longer, other = (list(synthetic(seed, **options).prompts(n)) for seed, n in ((5, 20), (5, 40), (6, 20)))
    assert first == longer[:20]
    assert first != other
    assert (next(synthetic(5, input_tokens=60).prompts(3)).input_ids or [])[:16] == (first[0].input_ids or [])[:16]


def test_no_two_prompts_share_a_beginning() -> None:
    prompts = [p.input_ids or [] for p in synthetic(input_tokens=8).prompts(5000)]
    distinct = len({tuple(ids[:1]) for ids in prompts})
    assert distinct > 800
    assert len({ids[0] for ids in prompts[:distinct]}) == distinct
    assert len({tuple(ids[:2]) for ids in prompts}) == 5000


@calm
@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=4), st.integers(0, 9))
def test_small_vocabularies_use_up_tokens_and_pairs_before_they_repeat(paragraphs: list[list[int]], seed: int) -> None:
    tokens = {token for paragraph in paragraphs for token in paragraph}
    passages = passages_of(paragraphs, random.Random(seed))
    found = [next(passages).take(6) for _ in range(len(tokens) ** 2)]
    assert {ids[0] for ids in found[: len(tokens)]} == tokens
    assert len({tuple(ids[:2]) for ids in found}) == len(tokens) ** 2
    assert all(len(ids) == 6 for ids in found)
    assert len(next(passages).take(3)) == 3


@calm
@given(
    st.sampled_from(["uniform", "normal", "lognormal"]),
    st.integers(1, 500),
    st.integers(0, 500),
    st.integers(0, 500),
    st.floats(0.01, 1e6),
    st.integers(0, 99),
)
def test_drawn_lengths_stay_within_their_bounds(kind: str, low: int, below: int, above: int, sd: float, seed: int) -> None:
    lengths = Lengths("input", kind, low + below, sd, low, low + below + above)
    rng = random.Random(seed)
    assert all(low <= lengths.draw(rng) <= low + below + above for _ in range(20))


@pytest.mark.parametrize("kind", ["normal", "lognormal"])
def test_moments_are_those_that_were_asked_for(kind: str) -> None:
    rng = random.Random(1)
    drawn = [Lengths("input", kind, 400, 60.0, 1, 100_000).draw(rng) for _ in range(4000)]
    assert statistics.mean(drawn) == pytest.approx(400, abs=4 * 60 / 4000**0.5)
    assert statistics.stdev(drawn) == pytest.approx(60, rel=0.08)


def test_lengths_that_cannot_be() -> None:
    with pytest.raises(BadInput, match="input_tokens=0"):
        list(synthetic(input_tokens=0).prompts(1))
    with pytest.raises(BadInput, match="leave no length"):
        list(synthetic(input_distribution="uniform", input_min_tokens=9, input_max_tokens=8).prompts(1))
    with pytest.raises(BadInput, match="lies outside"):
        list(synthetic(input_distribution="normal", input_tokens=9000).prompts(1))
    with pytest.raises(BadInput, match="not a spread"):
        list(synthetic(input_distribution="normal", input_sd_tokens=0.0).prompts(1))
    with pytest.raises(BadInput, match="is not known"):
        list(synthetic(input_distribution="gaussian").prompts(1))
    with pytest.raises(Refused, match="needs a length"):
        list(synthetic(output_distribution="normal").prompts(1))
    with pytest.raises(Refused, match="no tokenizer"):
        list(SyntheticPrompts(SyntheticConfig(), PromptContext(seed=0)).prompts(1))


@pytest.mark.parametrize(
    ("options", "longest"),
    [
        ({"input_tokens": 300}, 350),
        ({"input_tokens": 300, "output_tokens": 80}, 380),
        ({"input_tokens": 300, "input_distribution": "uniform", "input_max_tokens": 900}, 950),
        ({"input_tokens": 300, "output_tokens": 9, "output_distribution": "normal", "output_max_tokens": 20}, 320),
    ],
)
def test_the_longest_request_is_known_without_a_tokenizer(options: dict[str, object], longest: int) -> None:
    source = SyntheticPrompts(SyntheticConfig(**options), PromptContext(seed=0))  # type: ignore[arg-type]
    assert source.longest_request_tokens(32, 50) == longest
    assert builtin().longest_request_tokens(32, 50) is None
