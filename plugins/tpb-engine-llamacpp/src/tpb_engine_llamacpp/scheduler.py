"""Which requests take part in which step: static batches, and continuous batching where requests join and leave at any time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from collections.abc import Sequence as Many

from tpb_core.api import Clock, EngineSink, Request
from tpb_engine_llamacpp.intake import Intake, Rejected
from tpb_engine_llamacpp.iteration import Iteration, NoRoom, StepFailed
from tpb_engine_llamacpp.kv_cells import KvCells
from tpb_engine_llamacpp.sequence import Sequence


class Scheduler:
    """Holds the requests that wait and run, first come first served.

    Continuous batching: every running sequence decodes in each step, and prompt chunks fill the step up.
    """

    def __init__(
        self,
        intake: Intake,
        iteration: Iteration,
        cells: KvCells,
        clock: Clock,
        text_of: Callable[[Sequence], str],
        *,
        most: int,
        budget: int,
    ) -> None:
        """`most` requests run at once; a step has at most `budget` tokens."""
        self._intake, self._iteration, self._cells, self._clock, self._text_of = intake, iteration, cells, clock, text_of
        self._most, self._budget = most, budget
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._crowded = False
        """Set after a preemption: nobody joins until somebody has left, or the same request would come and go for ever."""

    @property
    def busy(self) -> bool:
        """Whether requests wait or run."""
        return bool(self._waiting or self._running)

    def run_batch(self, requests: Many[Request], sink: EngineSink, cancelled: Callable[[], Iterable[int]] = tuple) -> None:
        """A static batch: every prompt is computed before any sequence decodes; sequences that end, or are cancelled, leave the batch."""
        assert not self.busy, "a static batch while other requests are under way"
        for sequence in self._accepted(requests, sink):
            if len(self._running) < self._most and self._cells.give(sequence):
                self._running.append(sequence)
            else:
                sequence.close()
                sink.failed(
                    sequence.ordinal,
                    self._clock.now_ns(),
                    "rejected",
                    "the KV cache has no room for a batch of this size (engine.context_tokens)",
                )
        while prefilling := [s for s in self._running if s.prefilling]:
            self._step([], prefilling, sink, preempt=False)
            self.cancel(cancelled(), sink)
        while self._running:
            self._step(self._running, [], sink, preempt=False)
            self.cancel(cancelled(), sink)

    def submit(self, requests: Many[Request], sink: EngineSink) -> None:
        """Take requests into the queue; those that can never run are rejected at once."""
        self._waiting.extend(self._accepted(requests, sink))

    def advance(self, sink: EngineSink) -> bool:
        """One step of continuous batching. False where nothing is left."""
        while self._waiting and self._may_join() and self._cells.give(self._waiting[0]):
            self._running.append(self._waiting.popleft())
        if self._running:
            decoding = [s for s in self._running if not s.prefilling]
            self._step(decoding, [s for s in self._running if s.prefilling], sink, preempt=True)
        return self.busy

    def cancel(self, ordinals: Iterable[int], sink: EngineSink) -> None:
        """End requests early, wherever they are."""
        ended = set(ordinals)
        if not ended:
            return
        for sequence in [s for s in (*self._running, *self._waiting) if s.ordinal in ended]:
            if sequence.slot < 0:
                self._waiting.remove(sequence)
            self._end(sequence, keep=True)
            sink.failed(sequence.ordinal, self._clock.now_ns(), "cancelled", "cancelled before it was finished")

    def _may_join(self) -> bool:
        return not self._running or (len(self._running) < self._most and not self._crowded)

    def _accepted(self, requests: Many[Request], sink: EngineSink) -> list[Sequence]:
        now_ns = self._clock.now_ns()
        accepted = []
        for request in requests:
            try:
                accepted.append(self._intake.sequence(request, now_ns))
            except Rejected as reason:
                sink.failed(request.request, now_ns, "rejected", str(reason))
        return accepted

    def _step(self, decoding: Many[Sequence], prefilling: Many[Sequence], sink: EngineSink, *, preempt: bool) -> None:
        try:
            self._iteration.run(decoding, prefilling, self._budget, sink)
        except NoRoom:
            self._relieve(sink, preempt=preempt)
            return
        except StepFailed as failure:
            for sequence in (*decoding, *prefilling):
                self._fail(sequence, str(failure), sink)
            return
        if any(s.end_reason is not None for s in self._running):
            self._finish(sink)

    def _relieve(self, sink: EngineSink, *, preempt: bool) -> None:
        """llama.cpp has no cells for the step although we counted on them: kept prompts go, then the youngest request."""
        if self._cells.forget_prompts():
            return
        if len(self._running) > 1 and preempt:
            self._crowded = True
            youngest = self._running.pop()
            self._cells.take_back(youngest, keep=False)
            youngest.preempt()
            self._waiting.appendleft(youngest)
            return
        self._fail(self._running[-1], "the KV cache is full", sink)

    def _finish(self, sink: EngineSink) -> None:
        for sequence in [s for s in self._running if s.end_reason is not None]:
            self._end(sequence, keep=True)
            assert sequence.end_reason is not None
            sink.finished(
                sequence.ordinal,
                sequence.ended_ns,
                sequence.end_reason,
                input_tokens=len(sequence.ids),
                output_tokens=len(sequence.outputs),
                cached_tokens=sequence.cached,
                preemptions=sequence.preemptions,
                text=self._text_of(sequence),
            )

    def _fail(self, sequence: Sequence, reason: str, sink: EngineSink) -> None:
        self._end(sequence, keep=False)
        sink.failed(sequence.ordinal, self._clock.now_ns(), "error", reason)

    def _end(self, sequence: Sequence, *, keep: bool) -> None:
        self._crowded = False
        if sequence.slot >= 0:
            self._running.remove(sequence)
            self._cells.take_back(sequence, keep=keep)
        sequence.close()
