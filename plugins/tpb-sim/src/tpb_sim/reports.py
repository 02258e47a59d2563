"""What the host of the simulated engine tells the sink: steps, tokens and ends of requests, when it has seen them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpb_core.api import EngineSink, Member, Step
from tpb_sim.tokenizer import SimTokenizer

if TYPE_CHECKING:
    from tpb_sim.server import Sequence, StepDone

_ANSWER = "The simulated model says what it always says, word for word, and every word costs what the world was told it costs. "


class HostReports:
    """Requests under way, and the answer that all of them get."""

    def __init__(self, tokenizer: SimTokenizer, speculative: bool) -> None:
        self.under_way: dict[int, Sequence] = {}
        self._begun: set[int] = set()
        self._tokenizer, self._speculative = tokenizer, speculative
        self._answer = tokenizer.encode([_ANSWER])[0]

    def step(self, done: StepDone, instance: str, sink: EngineSink) -> None:
        """A step with all that came out of it."""
        plan = done.plan
        emitted = plan.emitted if done.last_stage else [0] * len(plan.emitted)
        sink.step(
            Step(
                t0_ns=done.dispatch_ns,
                t1_ns=done.t1_ns,
                prefill_tokens=plan.prefill_tokens,
                decode_tokens=plan.decode_tokens,
                emitted_tokens=sum(emitted),
                instance=instance,
                time_source="host",
                draft_tokens=plan.draft_tokens if self._speculative else None,
                accepted_tokens=plan.accepted_tokens if self._speculative else None,
                recomputed_tokens=plan.recomputed_tokens,
                prefill_padding_tokens=plan.prefill_padding_tokens,
                decode_padding_tokens=plan.decode_padding_tokens,
                kv_tokens=plan.kv_tokens,
                prefill_kv_tokens=plan.prefill_kv_tokens,
                members=[Member(*row) for row in zip(plan.request, plan.prefill, plan.decode, emitted, plan.kv, strict=True)],
            )
        )
        for sequence, count in zip(plan.sequences, emitted, strict=True):
            self._tokens(sequence, count, done.t1_ns, sink)
        for sequence in done.finished:
            self._end(sequence, done.t1_ns, sink)

    def _tokens(self, sequence: Sequence, count: int, t_ns: int, sink: EngineSink) -> None:
        if sequence.request not in self._begun and sequence.started_ns is not None:
            self._begun.add(sequence.request)
            sink.started(sequence.request, sequence.started_ns, sequence.submitted_ns)
        if count:
            sink.tokens(sequence.request, t_ns, count, self._answer_ids(sequence.request, sequence.told, count))
            sequence.told += count

    def _end(self, sequence: Sequence, t_ns: int, sink: EngineSink) -> None:
        del self.under_way[sequence.request]
        self._begun.discard(sequence.request)
        if sequence.cancelled and not sequence.done:
            sink.failed(sequence.request, t_ns, "cancelled", "cancelled by the client")
            return
        sink.finished(
            sequence.request,
            t_ns,
            sequence.finish_reason,
            input_tokens=sequence.input_tokens,
            output_tokens=sequence.told,
            cached_tokens=sequence.cached_tokens,
            preemptions=sequence.preemptions,
            text=self._tokenizer.decode([self._answer_ids(sequence.request, 0, sequence.told)])[0],
        )

    def _answer_ids(self, request: int, begin: int, count: int) -> list[int]:
        return [self._answer[(request * 7 + begin + place) % len(self._answer)] for place in range(count)]
