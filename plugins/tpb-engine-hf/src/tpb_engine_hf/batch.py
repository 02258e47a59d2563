"""One static batch under way: hears the forward hooks and the stopping criterion, keeps the step log, reports while the device computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tpb_core.api import Clock, EngineSink, Member, Step
from tpb_engine_hf.rows import DecodeText, Row
from tpb_engine_hf.steplog import StepLog

DRAFT_INSTANCE = "draft"


@dataclass(frozen=True, slots=True)
class _Ended:
    """A step that is over but not yet accounted for, with the output ids of each row."""

    t0_ns: int
    t1_ns: int
    outputs: Sequence[Sequence[int]]


class Batch:
    """The meeting point of hooks and criterion for the rows of one `generate` call.

    Used as a stopping criterion: called with all ids so far (rows, columns), it answers which rows have ended.
    """

    eos_token_id: tuple[int, ...] = ()
    """Its mere presence makes `generate` fill ended rows with padding."""

    def __init__(
        self,
        rows: Sequence[Row],
        clock: Clock,
        sink: EngineSink,
        decode: DecodeText,
        *,
        synchronize: Callable[[], None],
        assisted: bool = False,
        beams: bool = False,
        cancelled: Callable[[], Sequence[int]] = tuple,
    ) -> None:
        self._rows = rows
        self._clock = clock
        self._sink = sink
        self._decode = decode
        self._synchronize = synchronize
        self._beams, self._cancelled = beams, cancelled
        self._log = StepLog(rows, assisted=assisted)
        self._columns = max(len(row.prompt) for row in rows)
        self._width: int | None = None
        """Columns of the pass under way; None between a step's tokens and the next pass."""
        self._ended: Any = None
        """Which rows have ended, as the last answer to `generate` (bool, rows)."""
        self._marked_ns: int | None = None
        self._drafting = 0
        """Positions that the draft model computed since the last tokens."""
        self._drafted_before = False
        self._unreported: list[Step | _Ended] = []
        self.started_ns = clock.now_ns()
        self._edge_ns = self.started_ns

    @contextmanager
    def watching(self, model: Any, assistant: Any = None) -> Iterator[None]:
        """Hooks on the forward passes of the model and of its draft model, taken off at the end."""
        handles = [
            model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            model.register_forward_hook(self._after_forward, with_kwargs=True),
        ]
        if assistant is not None:
            handles.append(assistant.register_forward_pre_hook(self._before_draft, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before_forward(self, module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if self._width is not None:  # the pass before gave no tokens: a piece of the prompts, or one step of a beam search
            if self._marked_ns is None:
                self._synchronize()
            self._end_step(self._clock.now_ns() if self._marked_ns is None else self._marked_ns, [() for _ in self._rows])
        self._end_draft()
        self._width = _columns(arguments, keywords)

    def _before_draft(self, module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._drafting += _columns(arguments, keywords)

    def _end_draft(self) -> None:
        """All passes of the draft model since the last tokens are one step of its instance. Their tokens were read, so they are over."""
        if not self._drafting:
            return
        now, row = self._clock.now_ns(), self._rows[0]
        prefill = 0 if self._drafted_before else min(self._drafting, len(row.prompt))
        known = 0 if not self._drafted_before else len(row.prompt) + len(row.output) - 1
        member = Member(row.request, prefill, self._drafting - prefill, 0, known)
        step = Step(self._edge_ns, now, prefill, self._drafting - prefill, 0, instance=DRAFT_INSTANCE, members=[member])
        step.kv_tokens, step.prefill_kv_tokens = (0, known) if prefill else (known, 0)
        self._unreported.append(step)
        self._edge_ns, self._drafting, self._drafted_before = now, 0, True

    def _after_forward(self, module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        # on an accelerator the pass is only queued by now, so that what is done here costs no time
        self.report()
        assert self._width is not None
        self._log.forward(self._width)

    def __call__(self, input_ids: Any, scores: Any, **keywords: Any) -> Any:
        """Which rows have ended, as a bool tensor (rows). Reading the ids waits for the device; from then on the device waits for us."""
        import torch

        if self._beams:
            self._synchronize()
            self._marked_ns = self._clock.now_ns()
            return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        new = input_ids[:, self._columns :].tolist()
        now = self._clock.now_ns()
        self._columns = int(input_ids.shape[1])
        outputs: list[Sequence[int]] = []
        change = self._ended is None
        for row, ids in zip(self._rows, new, strict=True):
            if row.ended is not None:
                outputs.append(())
                continue
            if len(ids) == 1:
                row.take_one(ids[0], now, self._decode)
            else:
                ids = ids[: row.take(ids, now, self._decode)]
            outputs.append(ids)
            change = change or row.ended is not None
        if requests := self._cancelled():
            for row in self._rows:
                change = (row.request in requests and row.cancel(now)) or change
        self._end_step(now, outputs)
        if change:
            self._ended = torch.tensor([row.ended is not None for row in self._rows], dtype=torch.bool, device=input_ids.device)
        return self._ended

    def end_beams(self, outputs: Sequence[Sequence[int]], sequences: int) -> None:
        """The results of a beam search, `sequences` for each request in order: they all come out with its last step."""
        now = self._clock.now_ns()
        kept = [row for row in self._rows if row.sequence < sequences]
        for row, ids in zip(kept, outputs, strict=True):
            row.output = list(ids)
            row.ended = "length" if len(ids) >= row.limit_tokens and ids[-1] not in row.end_ids else "stop"
            row.ended_ns = now
        self._end_step(now, [list(row.output) if row.sequence < sequences else [] for row in self._rows])

    def _end_step(self, t_ns: int, outputs: Sequence[Sequence[int]]) -> None:
        self._unreported.append(_Ended(self._edge_ns, t_ns, outputs))
        self._edge_ns = t_ns
        self._width = None
        self._marked_ns = None

    def report(self) -> None:
        """Hand what happened since the last call to the sink."""
        unreported, self._unreported = self._unreported, []
        for ended in unreported:
            if isinstance(ended, Step):
                self._sink.step(ended)
                continue
            tokens: dict[int, list[int]] = {}
            for row, ids in zip(self._rows, ended.outputs, strict=True):
                if ids:
                    tokens.setdefault(row.request, []).extend(ids)
            for request, ids in tokens.items():
                self._sink.tokens(request, ended.t1_ns, len(ids), ids)
            self._sink.step(self._log.step(ended.t0_ns, ended.t1_ns, [len(ids) for ids in ended.outputs]))


def _columns(arguments: tuple[Any, ...], keywords: dict[str, Any]) -> int:
    """Width of a forward pass: columns of its input ids (rows, columns)."""
    ids = keywords["input_ids"] if "input_ids" in keywords else arguments[0]
    return int(ids.shape[1])
