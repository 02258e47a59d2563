"""Requests on their way through vLLM and what each step did for them: the accounts behind the step log. Plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tpb_core.api import Member, Request, Step


@dataclass(slots=True)
class Part:
    """One sequence's part in one step, as the scheduler decided it."""

    stream: str
    start: int
    """Positions whose keys and values were there before."""
    width: int
    """Positions that are computed."""
    drafts: int
    """Of these, drafted tokens that are only verified."""
    preemptions: int
    """How often the sequence had been preempted by then."""


@dataclass(slots=True)
class Iteration:
    """One step: times in ns of the run clock, its parts, and the output ids of each stream that came out of it."""

    t0_ns: int
    parts: list[Part]
    t1_ns: int = 0
    outputs: dict[str, Sequence[int]] = field(default_factory=dict)
    """vLLM's own lists: it cuts off what follows a stop string when it has looked at the text, after the step."""
    outputs_ns: int = 0
    """vLLM's stamp of them."""


@dataclass(slots=True)
class Stream:
    """One sequence from its submission to its end. `sequence` counts the sequences of a request (n > 1) from 0."""

    name: str
    """The id under which vLLM knows it; never used twice."""
    request: int
    sequence: int
    prompt_tokens: int
    output_tokens: int = 0
    text: str = ""
    ended: str | None = None
    output_ns: int = 0
    """When its latest output token came out."""
    cached: int | None = None
    """Prompt tokens found in the cache; None until the sequence is scheduled."""
    computed: int = 0
    """Positions whose keys and values have been computed at some time, cached ones included."""
    position: int = 0
    """Positions that are in the cache now. Steps scheduled ahead of time start from a guess; this is what came true."""
    preemptions: int = 0

    def account(self, part: Part, emitted: int) -> tuple[int, int, int, int, int]:
        """Prefill, decode, recomputed and accepted tokens of one step, and the KV length at its start. Prefill includes recomputed."""
        if self.cached is None:
            self.cached = self.computed = self.position = part.start
        if part.preemptions > self.preemptions:
            self.preemptions, self.position = part.preemptions, part.start
        start, end = self.position, self.position + part.width
        repeated = max(0, min(end, self.computed) - start)
        new_prompt = max(0, min(end, self.prompt_tokens) - (start + repeated))
        accepted = min(part.drafts, max(0, emitted - 1))
        self.position = end - (part.drafts - accepted)
        self.computed = max(self.computed, self.position)
        recomputed = repeated + (new_prompt if self.sequence > 0 else 0)
        return repeated + new_prompt, part.width - repeated - new_prompt, recomputed, accepted, start


@dataclass(slots=True)
class Submitted:
    """One request and its sequences."""

    request: Request
    streams: list[Stream]
    started: bool = False

    @property
    def complete(self) -> bool:
        """Whether all sequences have ended."""
        return all(stream.ended is not None for stream in self.streams)


def step_of(iteration: Iteration, streams: Mapping[str, Stream], *, drafts: bool) -> Step:
    """The step of an iteration, with what it did for each request. `drafts`: whether speculative decoding is on."""
    members: dict[int, list[int]] = {}
    prefill_all = decode_all = recomputed_all = accepted_all = emitted_all = kv = prefill_kv = 0
    for part in iteration.parts:
        stream, emitted = streams[part.stream], len(iteration.outputs.get(part.stream, ()))
        prefill, decode, recomputed, accepted, start = stream.account(part, emitted)
        prefill_all, decode_all, recomputed_all = prefill_all + prefill, decode_all + decode, recomputed_all + recomputed
        accepted_all, emitted_all = accepted_all + accepted, emitted_all + emitted
        if prefill:
            prefill_kv += start
        else:
            kv += start
        member = members.setdefault(stream.request, [0, 0, 0, 0])
        for place, amount in enumerate((prefill, decode, emitted, start)):
            member[place] += amount
    return Step(
        t0_ns=iteration.t0_ns,
        t1_ns=iteration.t1_ns,
        prefill_tokens=prefill_all,
        decode_tokens=decode_all,
        emitted_tokens=emitted_all,
        draft_tokens=sum(part.drafts for part in iteration.parts) if drafts else None,
        accepted_tokens=accepted_all if drafts else None,
        recomputed_tokens=recomputed_all,
        kv_tokens=kv,
        prefill_kv_tokens=prefill_kv,
        members=[Member(request, *amounts) for request, amounts in members.items()],
    )
