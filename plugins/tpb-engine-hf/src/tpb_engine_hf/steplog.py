"""From the width of each forward pass and the tokens that came out, the step log of a static batch. Plain Python, no tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tpb_core.api import Member, Step
from tpb_engine_hf.rows import Row


@dataclass(slots=True)
class _Pass:
    """What one row contributes to one forward pass, in tokens."""

    prefill: int = 0
    decode: int = 0
    prefill_padding: int = 0
    decode_padding: int = 0
    recomputed: int = 0
    kv: int = 0
    in_prefill: bool = False


class StepLog:
    """Counts what each forward pass of one left-padded batch computed, and gives it out as steps.

    Calls alternate: `forward(width)` with the number of columns of the pass, then `step(...)` when its tokens are out. Positions before
    a prompt (left padding) and rows that have ended are padding; drafted positions of assisted decoding count as decode.
    """

    def __init__(self, rows: Sequence[Row], *, assisted: bool = False, instance: str = "0") -> None:
        self._rows = rows
        self._instance = instance
        self._assisted = assisted
        self._columns = max(len(row.prompt) for row in rows)
        self._prefilled = 0
        """Columns of the padded prompts computed so far."""
        self._kv = [0] * len(rows)
        """Real tokens in the cache of each row."""
        self._passes: list[_Pass] = []
        self._drafted = 0

    @property
    def prefill_is_complete(self) -> bool:
        """Whether all prompts are computed, so that the pass under way gives output tokens."""
        return self._prefilled >= self._columns

    def forward(self, width: int) -> None:
        """A pass over `width` columns began."""
        first, last = self._prefilled, min(self._prefilled + width, self._columns)
        beyond = width - (last - first)
        decoding = first >= self._columns
        self._prefilled = last
        self._drafted = width - 1 if decoding else beyond
        self._passes = [self._count(index, row, first, last, beyond) for index, row in enumerate(self._rows)]

    def _count(self, index: int, row: Row, first: int, last: int, beyond: int) -> _Pass:
        count = _Pass(kv=self._kv[index], in_prefill=first < self._columns)
        if row.ended is not None:
            count.decode_padding = beyond
            count.kv = 0
            return count
        pad = self._columns - len(row.prompt)
        count.prefill = max(0, last - max(first, pad))
        count.prefill_padding = (last - first) - count.prefill
        count.recomputed = count.prefill if row.sequence > 0 else 0
        count.decode = beyond
        self._kv[index] += count.prefill + count.decode
        return count

    def step(self, t0_ns: int, t1_ns: int, emitted: Sequence[int]) -> Step:
        """The step of the pass under way. `emitted` is the number of output tokens of each row that came out of it.

        Draft tokens that were not accepted leave the cache again.
        """
        if self._assisted:
            self._kv = [len(row.prompt) + len(row.output) - 1 if row.output else kv for row, kv in zip(self._rows, self._kv, strict=True)]
        decoding = [count for count in self._passes if not count.in_prefill]
        prefilling = [count for count in self._passes if count.in_prefill]
        accepted = sum(max(0, count - 1) for count in emitted)
        return Step(
            t0_ns=t0_ns,
            t1_ns=t1_ns,
            prefill_tokens=sum(count.prefill for count in self._passes),
            decode_tokens=sum(count.decode for count in self._passes),
            emitted_tokens=sum(emitted),
            instance=self._instance,
            draft_tokens=self._drafted if self._assisted else None,
            accepted_tokens=accepted if self._assisted else None,
            recomputed_tokens=sum(count.recomputed for count in self._passes),
            prefill_padding_tokens=sum(count.prefill_padding for count in self._passes),
            decode_padding_tokens=sum(count.decode_padding for count in self._passes),
            kv_tokens=sum(count.kv for count in decoding),
            prefill_kv_tokens=sum(count.kv for count in prefilling),
            members=self._members(emitted),
        )

    def _members(self, emitted: Sequence[int]) -> list[Member]:
        parts: dict[int, list[int]] = {}
        for row, count, out in zip(self._rows, self._passes, emitted, strict=True):
            if not (count.prefill or count.decode or out):
                continue
            part = parts.setdefault(row.request, [0, 0, 0, 0])
            for place, amount in enumerate((count.prefill, count.decode, out, count.kv)):
                part[place] += amount
        return [Member(request, *part) for request, part in parts.items()]
