"""Requests in the stand-in's executor: their sequences, their made-up tokens, and what is told of each."""

import random
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from tensorrt_llm.double_settings import SETTINGS, executor_now

END = 2


@dataclass
class Sequence:
    """One sequence of a request; `launched` and `output` differ while the overlap scheduler is ahead."""

    request: "Running"
    index: int
    prefilled: int = 0
    launched: int = 0
    output: list[int] = field(default_factory=list)
    reason: str | None = None

    @property
    def in_prefill(self) -> bool:
        return self.prefilled < len(self.request.ids)

    @property
    def launchable(self) -> bool:
        return self.reason is None and self.launched < self.request.sampling.max_tokens

    def next_token(self) -> int:
        """Natural ends come after `natural_tokens`; drawn tokens depend on seed, sequence and place only."""
        place, sampling = len(self.output), self.request.sampling
        if not sampling.ignore_eos and place + 1 >= SETTINGS.natural_tokens:
            return END
        if sampling._greedy_decoding:
            return 35 + (sum(self.request.ids) + place) % 90
        return random.Random((sampling.seed or 0) * 7919 + self.index * 104729 + place).randrange(35, 125)


class Running:
    """A request from its arrival to its end."""

    def __init__(self, number: int, executor_id: int, ids: list[int], sampling: Any, output: Any) -> None:
        self.number, self.executor_id, self.ids, self.sampling, self.output = number, executor_id, ids, sampling, output
        self.arrival = executor_now()
        self.first_scheduled: timedelta | None = None
        self.first_token: timedelta | None = None
        self.last_token: timedelta | None = None
        self.cached = 0
        self.cancelled = False
        self.sequences = [Sequence(self, index) for index in range(sampling.n)]

    @property
    def complete(self) -> bool:
        return all(sequence.reason is not None for sequence in self.sequences)

    def metrics(self) -> Any:
        if not self.sampling.return_perf_metrics:
            return None
        blocks = -(-len(self.ids) // 32)
        reused = self.cached // 32 + SETTINGS.reuses_anyway
        return SimpleNamespace(
            timing_metrics=SimpleNamespace(
                arrival_time=self.arrival, first_scheduled_time=self.first_scheduled, first_token_time=self.first_token,
                last_token_time=self.last_token, kv_cache_transfer_start=timedelta(0), kv_cache_transfer_end=timedelta(0), kv_cache_size=0,
            ),
            kv_cache_metrics=SimpleNamespace(
                num_total_allocated_blocks=blocks, num_new_allocated_blocks=blocks - reused, num_reused_blocks=reused,
                num_missed_blocks=blocks - reused,
            ),
            speculative_decoding=SimpleNamespace(acceptance_rate=0.0, total_accepted_draft_tokens=0, total_draft_tokens=0),
            first_iter=0, last_iter=0,
        )  # fmt: skip

    def take(self, sequence: Sequence) -> None:
        """A token came out of the iteration that ends now; one computed beyond a natural end is thrown away."""
        if sequence.reason is not None:
            return
        now = executor_now()
        self.first_token = self.first_token or now
        self.last_token = now
        token = sequence.next_token()
        sequence.output.append(token)
        if SETTINGS.fails_after is not None and len(sequence.output) >= SETTINGS.fails_after and self.number > 1:
            sequence.reason = "error"
            self.output._put(("error", "CUDA error: an illegal memory access was encountered"))
            return
        if self.cancelled:
            sequence.reason = "cancelled"
        elif token == END and not self.sampling.ignore_eos:
            sequence.reason = "stop"
        elif len(sequence.output) >= self.sampling.max_tokens:
            sequence.reason = "length"
        reason = sequence.reason
        if reason is not None and SETTINGS.ends_with is not None and self.number > 1:
            reason = SETTINGS.ends_with
        cached = self.cached
        self.output._put(("tokens", sequence.index, [token], reason, self.complete, self.metrics() if reason else None, cached))
