"""Synthetic prompts: real prose, cut to an exact number of tokens by the engine's tokenizer, no two with a common beginning."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar

from tpb_core.api import Prompt, PromptsConfig, PromptSource, Refused, Tokenizer, option
from tpb_prompts.lengths import DISTRIBUTIONS, Lengths
from tpb_prompts.order import seeded


@dataclass
class SyntheticConfig(PromptsConfig):
    """Options of `prompts=synthetic`."""

    name: str = option("synthetic", help="entry-point name of the prompt source")
    input_tokens: int = option(256, help="input length: the length (fixed) or the mean (normal, lognormal)", unit="tokens")
    input_distribution: str = option("fixed", help="distribution of input lengths", choices=DISTRIBUTIONS)
    input_sd_tokens: float = option(64.0, help="standard deviation of input lengths (normal, lognormal)", unit="tokens")
    input_min_tokens: int = option(16, help="shortest input (all but fixed)", unit="tokens")
    input_max_tokens: int = option(2048, help="longest input (all but fixed)", unit="tokens")
    output_tokens: int | None = option(
        None, help="output length: the length or the mean; default: what sampling says, the same for all", unit="tokens"
    )
    output_distribution: str = option("fixed", help="distribution of output lengths (needs output_tokens)", choices=DISTRIBUTIONS)
    output_sd_tokens: float = option(32.0, help="standard deviation of output lengths (normal, lognormal)", unit="tokens")
    output_min_tokens: int = option(1, help="shortest output (all but fixed)", unit="tokens")
    output_max_tokens: int = option(1024, help="longest output (all but fixed)", unit="tokens")


class SyntheticPrompts(PromptSource[SyntheticConfig]):
    """Prompts as token ids. The first n prompts are the same however many are asked for; the order is random by itself."""

    config_class: ClassVar[type[PromptsConfig]] = SyntheticConfig

    def _lengths(self) -> tuple[Lengths, Lengths | None]:
        c = self.config
        inputs = Lengths("input", c.input_distribution, c.input_tokens, c.input_sd_tokens, c.input_min_tokens, c.input_max_tokens)
        if c.output_tokens is None:
            if c.output_distribution != "fixed":
                raise Refused("prompts.output_distribution needs a length.", "Add  prompts.output_tokens=128  (the mean).")
            return inputs, None
        outputs = Lengths("output", c.output_distribution, c.output_tokens, c.output_sd_tokens, c.output_min_tokens, c.output_max_tokens)
        return inputs, outputs

    def longest_request_tokens(self, count: int, max_output_tokens: int) -> int:
        """What the distributions allow."""
        inputs, outputs = self._lengths()
        return inputs.longest + (max_output_tokens if outputs is None else outputs.longest)

    def prompts(self, count: int) -> Iterator[Prompt]:
        """Exactly `count` prompts. Raises `Refused` where the engine has no tokenizer and `BadInput` for impossible lengths."""
        inputs, outputs = self._lengths()
        if self.context.tokenizer is None:
            raise Refused(
                "synthetic prompts have an exact number of tokens, and this engine offers no tokenizer to count them with.",
                "Use  prompts=builtin  or  prompts=file prompts.path=...  with this engine.",
            )
        paragraphs = paragraphs_of(self.context.tokenizer)
        rng = seeded(self.context.seed, "lengths")  # apart from the passages', so that a change of one leaves the other alone
        passages = passages_of(paragraphs, seeded(self.context.seed, "passages"))
        for number in range(count):
            length = inputs.draw(rng)
            yield Prompt(
                prompt_id=f"synthetic-{number:06d}",
                input_ids=next(passages).take(length),
                task="synthetic",
                source="synthetic",
                row=number + 1,
                output_tokens=outputs.draw(rng) if outputs else None,
            )


def paragraphs_of(tokenizer: Tokenizer) -> list[list[int]]:
    """Our prose as token ids, a list a paragraph."""
    text = files("tpb_prompts").joinpath("data/passages.txt").read_text(encoding="utf-8")
    return [ids for ids in tokenizer.encode([f"{p}\n\n" for p in text.split("\n\n") if p.strip()]) if ids]


class Passage:
    """One endless text: `lead`, then paragraph `start` from `offset` on, then the others in random order, again and again."""

    def __init__(self, paragraphs: Sequence[Sequence[int]], lead: Sequence[int], start: int, offset: int, seed: int) -> None:
        self._paragraphs, self._lead, self._start, self._offset, self._seed = paragraphs, lead, start, offset, seed

    def take(self, count: int) -> list[int]:
        """The first `count` token ids."""
        ids = [*self._lead, *self._paragraphs[self._start][self._offset :]]
        rng = random.Random(self._seed)
        order: list[int] = []
        while len(ids) < count:
            if not order:
                order = list(range(len(self._paragraphs)))
                rng.shuffle(order)
            ids.extend(self._paragraphs[order.pop()])
        return ids[:count]


def passages_of(paragraphs: Sequence[Sequence[int]], rng: random.Random) -> Iterator[Passage]:
    """Passages without end, in random order. The first V (V: number of distinct tokens) begin with V different tokens; after that, each
    begins with a pair of tokens that no earlier one began with, until all pairs are used and the sequence begins again."""
    places = [(p, o) for p, paragraph in enumerate(paragraphs) for o in range(len(paragraph))]
    rng.shuffle(places)
    pairs: set[tuple[int, int | None]] = set()
    firsts: set[int] = set()
    for p, o in places:
        if paragraphs[p][o] not in firsts:
            passage = Passage(paragraphs, (), p, o, rng.getrandbits(64))
            beginning = passage.take(2)
            firsts.add(beginning[0])
            pairs.add((beginning[0], beginning[1]))
            yield passage
    leads = sorted(firsts)
    rng.shuffle(leads)
    while True:
        for shift in range(len(places)):
            for i, lead in enumerate(leads):
                p, o = places[(shift + i) % len(places)]
                pair = (lead, paragraphs[p][o])
                if pair not in pairs:
                    pairs.add(pair)
                    yield Passage(paragraphs, (lead,), p, o, rng.getrandbits(64))
        pairs.clear()
