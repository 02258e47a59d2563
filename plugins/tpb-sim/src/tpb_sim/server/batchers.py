"""Batchers: who takes part in the next step. Static batches, and continuous batching with chunked prefill, preemption and drafts."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from tpb_sim.server.plan import Plan
from tpb_sim.server.sequence import Sequence

UNLIMITED = 10**12
"""A cache without a limit, in tokens."""


class Batcher(Protocol):
    """A queue of sequences that makes steps of them."""

    def add(self, sequence: Sequence) -> None:
        """A sequence joins the queue."""

    def plan(self) -> Plan | None:
        """The next step; None where nothing is waiting. The plan must be finished before the next one is asked for."""

    def settle(self, plan: Plan) -> list[Sequence]:
        """After `plan.finish()`: forget sequences that are done or cancelled and return them."""

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence that is not part of a step under way."""


class StaticBatcher:
    """All prompts first, then all sequences decode together until the last one is done; what is added meanwhile is the next batch.

    With `padding` prompts are filled up to the longest of their prefill pass, and finished sequences keep their place in decode steps.
    """

    def __init__(self, max_step_tokens: int, padding: bool) -> None:
        self._max_step_tokens, self._padding = max_step_tokens, padding
        self._queue: deque[Sequence] = deque()
        self._waiting: deque[Sequence] = deque()
        self._decoding: list[Sequence] = []
        self._size = 0

    def add(self, sequence: Sequence) -> None:
        """Join the next batch."""
        self._queue.append(sequence)

    def plan(self) -> Plan | None:
        """Prefill of as many whole prompts as fit (at least one), or one token for everybody."""
        if not self._waiting and not self._decoding:
            self._waiting, self._queue = self._queue, deque()
            self._size = len(self._waiting)
        plan, longest = Plan(), 0
        while self._waiting:
            sequence = self._waiting[0]
            width = max(longest, sequence.todo)
            filled = width * (len(plan.sequences) + 1) if self._padding else plan.prefill_tokens + sequence.todo
            if plan.sequences and filled > self._max_step_tokens:
                break
            longest = width
            plan.add_prefill(self._waiting.popleft(), sequence.todo)
        if plan.sequences:
            if self._padding:
                plan.prefill_padding_tokens = longest * len(plan.sequences) - plan.prefill_tokens
            return plan
        if not self._decoding:
            return None
        plan.add_decoding(self._decoding)
        if self._padding:
            plan.decode_padding_tokens = self._size - len(self._decoding)
        return plan

    def settle(self, plan: Plan) -> list[Sequence]:
        """Sequences whose tokens are all out leave the batch."""
        left = [sequence for sequence in plan.sequences if sequence.done or sequence.cancelled]
        if plan.prefill_tokens:
            self._decoding += [sequence for sequence in plan.sequences if not (sequence.done or sequence.cancelled)]
        elif left:
            self._decoding = [sequence for sequence in self._decoding if not (sequence.done or sequence.cancelled)]
        return left

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out of the queue or the batch."""
        self._queue = deque(other for other in self._queue if other is not sequence)
        self._waiting = deque(other for other in self._waiting if other is not sequence)
        self._decoding = [other for other in self._decoding if other is not sequence]


@dataclass(frozen=True)
class Limits:
    """What a continuous batch may hold."""

    max_sequences: int = 64
    max_step_tokens: int = 512
    kv_tokens: int = UNLIMITED
    """Room in the cache; when it runs out, the sequence that joined last is preempted and computed again later."""
    mixed: bool = True
    """False: prefill and decode take turns (prefill first) instead of sharing steps."""
    drafts: int = 0
    """Tokens drafted for each decoding sequence and step; each is accepted with probability `acceptance` while all before it were."""
    acceptance: float = 0.7


class ContinuousBatcher:
    """Sequences join and leave at any step: decoding ones first, then prompts in chunks as far as the token budget goes."""

    def __init__(self, limits: Limits, seed: int = 0) -> None:
        self._limits = limits
        self._random = random.Random(seed)
        self._waiting: deque[Sequence] = deque()
        self._prefilling: list[Sequence] = []
        self._decoding: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        """Join the queue; a sequence without anything to prefill (handed over by another instance) decodes at once."""
        if sequence.todo:
            self._waiting.append(sequence)
        else:
            self._decoding.append(sequence)

    def plan(self) -> Plan | None:
        """The next step under the limits."""
        self._make_room()
        plan = Plan()
        if self._limits.mixed or not (self._prefilling or self._waiting):
            self._plan_decode(plan)
        self._plan_prefill(plan)
        if not plan.sequences:
            self._plan_decode(plan)
        return plan if plan.sequences else None

    def _plan_decode(self, plan: Plan) -> None:
        if not self._limits.drafts:
            plan.add_decoding(self._decoding)
            return
        for sequence in self._decoding:
            drafts = min(self._limits.drafts, sequence.output_tokens - sequence.emitted - 1)
            accepted = 0
            while accepted < drafts and self._random.random() < self._limits.acceptance:
                accepted += 1
            plan.add_decode(sequence, positions=1 + drafts, emitted=1 + accepted)

    def _plan_prefill(self, plan: Plan) -> None:
        budget = self._limits.max_step_tokens - plan.decode_tokens
        for sequence in self._prefilling:
            if budget <= 0:
                return
            chunk = min(sequence.todo, budget)
            plan.add_prefill(sequence, chunk)
            budget -= chunk
        if not self._waiting or budget <= 0:
            return
        room = UNLIMITED
        if self._limits.kv_tokens < UNLIMITED:
            room = self._limits.kv_tokens - self._held() - sum(sequence.todo for sequence in self._prefilling) - len(self._decoding)
        while self._waiting and budget > 0 and len(self._prefilling) + len(self._decoding) < self._limits.max_sequences:
            sequence = self._waiting[0]
            if sequence.todo > room and (self._prefilling or self._decoding):
                return
            self._prefilling.append(self._waiting.popleft())
            chunk = min(sequence.todo, budget)
            plan.add_prefill(sequence, chunk)
            budget -= chunk
            room -= sequence.todo

    def _held(self) -> int:
        return sum(sequence.kv for sequence in self._prefilling) + sum(sequence.kv for sequence in self._decoding)

    def _make_room(self) -> None:
        if self._limits.kv_tokens >= UNLIMITED:
            return
        while len(self._decoding) + len(self._prefilling) > 1 and self._held() + len(self._decoding) > self._limits.kv_tokens:
            last = self._prefilling.pop() if self._prefilling else self._decoding.pop()
            last.preempt()
            self._waiting.appendleft(last)

    def settle(self, plan: Plan) -> list[Sequence]:
        """Prompts that are computed turn to decode; sequences that are done leave."""
        left = [sequence for sequence in plan.sequences if sequence.done or sequence.cancelled]
        if plan.prefill_tokens:
            self._decoding += [s for s in self._prefilling if not s.todo and not s.done and not s.cancelled]
            self._prefilling = [s for s in self._prefilling if s.todo and not s.cancelled]
        if left:
            self._decoding = [s for s in self._decoding if not (s.done or s.cancelled)]
        return left

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it is."""
        self._waiting = deque(other for other in self._waiting if other is not sequence)
        self._prefilling = [other for other in self._prefilling if other is not sequence]
        self._decoding = [other for other in self._decoding if other is not sequence]
