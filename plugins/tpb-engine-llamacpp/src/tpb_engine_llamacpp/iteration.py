"""One iteration of the engine: one call of llama.cpp for tokens of many requests, what comes out of it, and its row in the step log."""

from __future__ import annotations

from collections.abc import Sequence as Many

from tpb_core.api import Clock, EngineSink, Member, Step
from tpb_engine_llamacpp.batch import TokenBatch
from tpb_engine_llamacpp.choice import Logits
from tpb_engine_llamacpp.loaded import Loaded
from tpb_engine_llamacpp.sequence import Sequence

_NO_ROOM = 1


class NoRoom(Exception):
    """llama.cpp found no free cells for the step; nothing was computed."""


class StepFailed(Exception):
    """llama.cpp could not compute the step."""


class Iteration:
    """Runs steps. A step lasts from before its batch is filled in until its tokens are chosen: choosing belongs to the step that emits."""

    def __init__(self, loaded: Loaded, clock: Clock) -> None:
        lib = loaded.lib
        self._decode, self._synchronize, self._context = lib.llama_decode, lib.llama_synchronize, loaded.context
        self._batch = TokenBatch(lib, loaded.batch_tokens)
        self._logits = Logits(loaded)
        self._clock = clock

    def run(self, decoding: Many[Sequence], prefilling: Many[Sequence], budget: int, sink: EngineSink) -> None:
        """One step: a token for each sequence in `decoding`, and prompt chunks of `prefilling` in their order up to `budget` tokens in all.

        Raises `NoRoom` and `StepFailed`, with the sequences as they were (after `StepFailed` their cells are undefined).
        """
        t0_ns = self._clock.now_ns()
        batch = self._batch
        positions = [s.computed for s in decoding]
        batch.set_decoding([s.outputs[-1] for s in decoding], positions, [s.slot for s in decoding])
        chunks: list[tuple[Sequence, int]] = []
        emitting = list(decoding)
        rows = list(range(len(decoding)))
        left = budget - len(decoding)
        for s in prefilling:
            if left <= 0:
                break
            tokens = s.chunk(left)
            # after a preemption the last output is known already: nothing is drawn again
            wanted = s.computed + len(tokens) == s.prefill_end and not s.outputs
            index = batch.add_chunk(tokens, s.computed, s.slot, wanted=wanted)
            if wanted:
                emitting.append(s)
                rows.append(index)
            chunks.append((s, len(tokens)))
            left -= len(tokens)
        status = self._decode(self._context, batch.struct)
        if status == _NO_ROOM:
            raise NoRoom
        if status != 0:
            raise StepFailed(f"llama_decode returned {status}")
        self._synchronize(self._context)
        self._choose(emitting, rows)
        t1_ns = self._clock.now_ns()
        self._report(t0_ns, t1_ns, decoding, positions, chunks, emitting, sink)

    def _choose(self, emitting: list[Sequence], rows: list[int]) -> None:
        if not emitting:
            return
        if all(s.draw is None for s in emitting):
            for s, token in zip(emitting, self._logits.greedy(len(emitting)), strict=True):
                s.accept(token)
            return
        greedy = self._logits.greedy(len(emitting)) if any(s.draw is None for s in emitting) else [0] * len(emitting)
        for s, row, token in zip(emitting, rows, greedy, strict=True):
            s.accept(token if s.draw is None else s.draw.token(row))

    def _report(
        self,
        t0_ns: int,
        t1_ns: int,
        decoding: Many[Sequence],
        positions: list[int],
        chunks: list[tuple[Sequence, int]],
        emitting: list[Sequence],
        sink: EngineSink,
    ) -> None:
        members = [Member(s.ordinal, 0, 1, 1, kv) for s, kv in zip(decoding, positions, strict=True)]
        prefill_tokens = recomputed = prefill_kv = 0
        came_from_prefill = set(emitting[len(decoding) :])
        for s, count in chunks:
            members.append(Member(s.ordinal, count, 0, int(s in came_from_prefill), s.computed))
            prefill_tokens += count
            prefill_kv += s.computed
            recomputed += max(0, min(s.recompute_end, s.computed + count) - s.computed)
            s.computed += count
            if not s.started:
                s.started = True
                sink.started(s.ordinal, t0_ns, s.queued_ns)
        for s in decoding:
            s.computed += 1
        sink.step(
            Step(
                t0_ns=t0_ns,
                t1_ns=t1_ns,
                prefill_tokens=prefill_tokens,
                decode_tokens=len(decoding),
                emitted_tokens=len(emitting),
                recomputed_tokens=recomputed,
                prefill_padding_tokens=0,
                decode_padding_tokens=0,
                kv_tokens=sum(positions),
                prefill_kv_tokens=prefill_kv,
                members=members,
            )
        )
        for s in emitting:
            sink.tokens(s.ordinal, t1_ns, 1, (s.outputs[-1],))
            if s.end_reason is not None:
                s.ended_ns = t1_ns
