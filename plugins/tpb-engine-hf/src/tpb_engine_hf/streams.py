"""The requests of continuous batching and what each iteration did for them: the accounts behind its step log. Plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field

from tpb_core.api import Member, Request, Step
from tpb_engine_hf.loop_tap import Iteration, Part
from tpb_engine_hf.rows import Row


@dataclass(slots=True)
class Stream:
    """One sequence from its submission to its end, as far as the records have told. Of `row` only what does not change is read."""

    name: str
    """The id under which Transformers knows it; never used twice."""
    row: Row
    output: list[int] = field(default_factory=list)
    ended: str | None = None
    ended_ns: int = 0
    cached: int | None = None
    """Prompt tokens found in the cache; None until the sequence is scheduled."""
    computed: int = 0
    """Positions whose keys and values have been computed at some time, cached ones included."""
    position: int = 0
    preemptions: int = 0

    def account(self, part: Part) -> tuple[int, int, int]:
        """Prefill, decode and recomputed tokens of one iteration. Prefill includes recomputed."""
        end = part.start + part.width
        if self.cached is None:
            self.cached = self.computed = self.position = part.start
        if part.start < self.position:
            self.preemptions += 1
        prompt = len(self.row.prompt)
        repeated = max(0, min(end, self.computed) - part.start)
        first_new = part.start + repeated
        new_prompt = max(0, min(end, prompt) - first_new)
        self.computed = max(self.computed, end)
        self.position = end
        recomputed = repeated + (new_prompt if self.row.sequence > 0 else 0)
        return repeated + new_prompt, part.width - repeated - new_prompt, recomputed


@dataclass(slots=True)
class Submitted:
    """One request: its sequences, and when it was accepted and begun."""

    request: Request
    streams: list[Stream]
    queued_ns: int
    started_ns: int | None = None

    @property
    def complete(self) -> bool:
        """Whether all sequences have ended."""
        return all(stream.ended is not None for stream in self.streams)


def step_of(iteration: Iteration, streams: dict[str, Stream]) -> Step:
    """The step of an iteration, with what it did for each request."""
    parts: dict[int, list[int]] = {}
    totals = {"prefill": 0, "decode": 0, "recomputed": 0, "emitted": 0, "kv": 0, "prefill_kv": 0}
    for part in iteration.parts:
        stream = streams[part.sequence]
        prefill, decode, recomputed = stream.account(part)
        totals["prefill"] += prefill
        totals["decode"] += decode
        totals["recomputed"] += recomputed
        totals["emitted"] += len(part.ids)
        totals["prefill_kv" if prefill else "kv"] += part.start
        member = parts.setdefault(stream.row.request, [0, 0, 0, 0])
        for place, amount in enumerate((prefill, decode, len(part.ids), part.start)):
            member[place] += amount
    return Step(
        t0_ns=iteration.t0_ns,
        t1_ns=iteration.t1_ns,
        prefill_tokens=totals["prefill"],
        decode_tokens=totals["decode"],
        emitted_tokens=totals["emitted"],
        recomputed_tokens=totals["recomputed"],
        prefill_padding_tokens=iteration.padding if totals["prefill"] else 0,
        decode_padding_tokens=0 if totals["prefill"] else iteration.padding,
        kv_tokens=totals["kv"],
        prefill_kv_tokens=totals["prefill_kv"],
        members=[Member(request, *part) for request, part in parts.items()],
    )


def take_output(iteration: Iteration, streams: dict[str, Stream]) -> dict[int, list[int]]:
    """Add the output of an iteration to its streams, and return it by request."""
    output: dict[int, list[int]] = {}
    for part in iteration.parts:
        stream = streams[part.sequence]
        stream.output.extend(part.ids)
        if part.ended is not None:
            stream.ended, stream.ended_ns = part.ended, iteration.t1_ns
        if part.ids:
            output.setdefault(stream.row.request, []).extend(part.ids)
    return output
