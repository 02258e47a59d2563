"""A request inside a simulated server: how much of its prompt is computed, how many tokens came out."""

from __future__ import annotations


class Sequence:
    """One sequence. `kv` is what its cache holds; `todo` the prefill positions still to compute before it can decode."""

    __slots__ = (
        "cached_tokens", "cancelled", "emitted", "finish_reason", "finished_ns", "first_token_ns", "input_tokens", "kv", "output_tokens",
        "preemptions", "prefilled", "request", "running", "started_ns", "submitted_ns", "todo", "told",
    )  # fmt: skip

    def __init__(
        self, request: int, input_tokens: int, output_tokens: int, *, cached_tokens: int = 0, finish_reason: str = "length"
    ) -> None:
        self.request = request
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        self.cached_tokens = cached_tokens
        self.finish_reason = finish_reason
        self.kv = cached_tokens
        self.todo = input_tokens - cached_tokens
        self.prefilled = 0
        self.emitted = 0
        self.told = 0
        """Of the emitted tokens, those that the host has seen."""
        self.preemptions = 0
        self.running = False
        """Part of a step that is under way."""
        self.cancelled = False
        self.submitted_ns: int | None = None
        self.started_ns: int | None = None
        self.first_token_ns: int | None = None
        self.finished_ns: int | None = None

    @property
    def done(self) -> bool:
        """All tokens are out."""
        return self.emitted >= self.output_tokens

    def recomputed_in(self, chunk: int) -> int:
        """How many of the next `chunk` prefill positions repeat work: those beyond what the prompt needed once."""
        needed = self.input_tokens - self.cached_tokens
        return max(0, self.prefilled + chunk - needed) - max(0, self.prefilled - needed)

    def preempt(self) -> None:
        """The cache is taken away; prompt and output so far must be computed again before the next token."""
        self.kv = 0
        self.todo = self.input_tokens + self.emitted
        self.preemptions += 1
