"""One request on its way through the engine: what is computed, what came out, what is still to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from tpb_core.api import Request
from tpb_engine_llamacpp.choice import Draw, StopStrings


@dataclass(slots=True, eq=False)
class Sequence:
    """A request with its place in the KV cache. Positions count from 0: input first, then output."""

    request: Request
    ids: list[int]
    end_tokens: frozenset[int]
    """Ids that end it; empty where the output length is exact."""
    queued_ns: int
    draw: Draw | None = None
    stops: StopStrings | None = None
    slot: int = -1
    """Its sequence id in llama.cpp; -1 while it waits."""
    computed: int = 0
    """Tokens in the KV cache."""
    cached: int = 0
    """Of its input, those that were in the cache when it began for the first time."""
    prefill_end: int = 0
    """Prefill goes up to this position (not included): the input, or after a preemption what had been computed before."""
    recompute_end: int = 0
    """Positions below this one have been computed before: prefill up to here is recomputation."""
    outputs: list[int] = field(default_factory=list)
    preemptions: int = 0
    started: bool = False
    end_reason: str | None = None
    """`stop` or `length` once it has ended."""
    ended_ns: int = 0

    @property
    def ordinal(self) -> int:
        """The request's number in the run."""
        return self.request.request

    @property
    def room(self) -> int:
        """The most cells of the KV cache that it can come to need: the last output token is never computed."""
        return len(self.ids) + self.request.sampling.max_output_tokens - 1

    @property
    def prefilling(self) -> bool:
        """Whether prompt tokens are left to compute."""
        return self.computed < self.prefill_end

    def chunk(self, most: int) -> list[int]:
        """The next tokens to prefill, at most `most`."""
        end = min(self.computed + most, self.prefill_end)
        inputs = len(self.ids)
        if end <= inputs:
            return self.ids[self.computed : end]
        return (self.ids + self.outputs)[self.computed : end]

    def accept(self, token: int) -> None:
        """Take an output token; sets `end_reason` where it is the last one."""
        self.outputs.append(token)
        if token in self.end_tokens or (self.stops is not None and self.stops.met(token)):
            self.end_reason = "stop"
        elif len(self.outputs) >= self.request.sampling.max_output_tokens:
            self.end_reason = "length"

    def preempt(self) -> None:
        """Its cells were taken away: everything computed so far has to be computed again before it goes on."""
        self.preemptions += 1
        self.recompute_end = max(self.recompute_end, self.computed)
        self.prefill_end = max(len(self.ids), self.recompute_end)
        self.computed, self.slot = 0, -1

    def close(self) -> None:
        """Free what it holds outside of the KV cache."""
        if self.draw is not None:
            self.draw.close()
