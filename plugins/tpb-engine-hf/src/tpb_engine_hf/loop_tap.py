"""Listens to Transformers' continuous-batching loop: which sequences took part in each iteration, and which tokens came out.

The loop runs in a thread of its own. The tap wraps two methods of its batch processor, `prepare_next_batch` (an iteration is scheduled)
and `update_batch` (its tokens are on the host), and passes plain records on through a queue. Nothing is computed here that could wait.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tpb_core.api import Clock, Reason, Unavailable
from tpb_engine_hf.rows import DecodeText, Row

NEEDED = ("prepare_next_batch", "update_batch", "scheduler", "inputs_and_outputs", "model_runner")


@dataclass(slots=True)
class Part:
    """One sequence in one iteration: `width` positions computed from position `start` on, and the ids that came out."""

    sequence: str
    start: int
    width: int
    gives_token: bool
    state: Any = None
    ids: list[int] = field(default_factory=list)
    ended: str | None = None
    """`stop` or `length` where the sequence ended with these ids."""


@dataclass(slots=True)
class Iteration:
    """One pass of the loop; `padding` counts positions that belong to nobody."""

    t0_ns: int
    t1_ns: int
    parts: list[Part]
    padding: int


@dataclass(slots=True)
class _Scheduled:
    """An iteration that was handed to the device; its end is known when its tokens are read, or earlier where the loop fell idle."""

    t0_ns: int
    parts: list[Part]
    padding: int
    t1_ns: int | None = None


@dataclass(frozen=True)
class Gone:
    """Sequences that were taken out on demand; no later iteration has them."""

    t_ns: int
    sequences: tuple[str, ...]


class LoopTap:
    """Wraps one batch processor. `rows` is filled by the thread that submits, before a sequence is queued; from then on a row belongs to
    the loop's thread, and everybody else learns of it through the records.
    """

    def __init__(self, processor: Any, rows: dict[str, Row], clock: Clock, decode: DecodeText, end_early: Callable[[str], None]) -> None:
        missing = [name for name in NEEDED if not hasattr(processor, name)]
        if missing:
            raise Unavailable(
                f"The continuous batching of this Transformers version is not known: {', '.join(missing)} is missing.",
                reason=Reason.UNSUPPORTED,
                fix="Use transformers 5.23, or load=static.",
            )
        self.records: queue.SimpleQueue[Iteration | Gone] = queue.SimpleQueue()
        self.leaving: set[str] = set()
        """Sequences to be reported as gone once the scheduler has let go of them."""
        self.current: Sequence[Part] = ()
        """The iteration that was scheduled last, for processors that need to know whose scores they see."""
        self._processor = processor
        self._rows = rows
        self._clock = clock
        self._decode = decode
        self._end_early = end_early
        self._scheduled: deque[_Scheduled] = deque()
        self._edge_ns = 0
        self._prepare, self._update = processor.prepare_next_batch, processor.update_batch
        processor.prepare_next_batch, processor.update_batch = self._prepared, self._updated

    def _prepared(self) -> bool:
        t0_ns = self._clock.now_ns()
        found = bool(self._prepare())
        if self.leaving:
            self._tell_gone()
        outputs = self._processor.inputs_and_outputs
        if not found:
            self._end_what_is_in_flight(outputs)
            return False
        if hasattr(outputs, "io_pairs"):  # asynchronous batching keeps two sets of buffers
            outputs = outputs.io_pairs[outputs.current_pair].host_io
        parts = [
            Part(one.state.request_id, one.state.position_offset - one.query_length, one.query_length, one.has_new_token, one.state)
            for one in outputs.requests_in_batch
        ]
        self.current = parts
        self._scheduled.append(_Scheduled(t0_ns, parts, max(0, int(outputs.num_q_tokens) - sum(part.width for part in parts))))
        return True

    def _end_what_is_in_flight(self, outputs: Any) -> None:
        """Asynchronous batching reads the last iteration only when there is another one: without this its step would last till then."""
        waiting = [scheduled for scheduled in self._scheduled if scheduled.t1_ns is None]
        if not waiting:
            return
        if outputs.compute_stream is not None:
            outputs.compute_stream.synchronize()
        now = self._clock.now_ns()
        for scheduled in waiting:
            scheduled.t1_ns = now

    def _updated(self) -> None:
        scheduled = self._scheduled.popleft()
        before = [_length(part.state) for part in scheduled.parts]
        self._update()
        t1_ns = self._clock.now_ns() if scheduled.t1_ns is None else scheduled.t1_ns
        for part, length in zip(scheduled.parts, before, strict=True):
            new = _length(part.state) - length
            row = self._rows.get(part.sequence)
            if new > 0 and row is not None:
                ids = part.state.generated_tokens[-new:]
                part.ids = list(ids[: row.take(ids, t1_ns, self._decode)])
                part.ended = row.ended
                if row.ended is not None and not row.ended_by_itself:
                    self._end_early(part.sequence)
            part.state = None
        self.records.put(Iteration(max(scheduled.t0_ns, self._edge_ns), t1_ns, scheduled.parts, scheduled.padding))
        self._edge_ns = t1_ns

    def _tell_gone(self) -> None:
        scheduler = self._processor.scheduler
        gone = tuple(
            name for name in list(self.leaving) if name not in scheduler.active_requests and name not in scheduler.waiting_requests
        )
        if gone:
            self.leaving.difference_update(gone)
            for name in gone:  # an iteration under way may still compute for them, but nothing comes out of it any more
                self._rows.pop(name, None)
            self.records.put(Gone(self._clock.now_ns(), gone))


def _length(state: Any) -> int:
    """Prompt and output tokens of a request state; stays the same when a preempted request starts over."""
    return len(state.initial_tokens) + len(state.generated_tokens)
