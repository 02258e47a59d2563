"""Good requests: those that ended well and met every target; counted over the requests that ended in the window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tpb_core.report.comparison.records import Row, RunRecord
from tpb_core.store.judgement import Judgement, judge
from tpb_core.store.targets import Answered, Target


@dataclass(frozen=True)
class Goodput(Judgement):
    """The judgement of one run or of several, and how many seconds they lasted."""

    seconds: float = 0.0

    def share(self, place: int) -> float | None:
        """The share of requests that met a target."""
        return self.met[place] / self.judged if self.judged else None

    def too_few(self, targets: Sequence[Target]) -> bool:
        """Whether there are too few requests to see a percentile: none would be beyond it."""
        return any(self.judged * (100 - target.percent) < 100 for target in targets)

    @property
    def per_s(self) -> float | None:
        """Good requests a second."""
        return self.good / self.seconds if self.seconds > 0 and self.reason is None else None


def goodput_of(record: RunRecord, targets: Sequence[Target]) -> Goodput:
    """Judge the measured requests of a run that ended in the window, those that never ended included."""
    performance = record.performance
    t0, t1 = (0, 0) if performance is None else (performance["t0_ns"], performance["t1_ns"])
    judgement = judge((_answered(row) for row in record.requests if _belongs(row, t0, t1)), targets)
    return Goodput(judgement.judged, judgement.good, judgement.met, judgement.reason, performance["duration_s"] if performance else 0.0)


def together(parts: Iterable[Goodput]) -> Goodput:
    """The requests of several repeats as one."""
    found = list(parts)
    reason = next((part.reason for part in found if part.reason is not None), None)
    met = tuple(sum(counts) for counts in zip(*(part.met for part in found), strict=True))
    return Goodput(sum(part.judged for part in found), sum(part.good for part in found), met, reason, sum(part.seconds for part in found))


def _belongs(row: Row, t0: int, t1: int) -> bool:
    begin, end = _begin(row), row["finished_ns"]
    if end is not None:
        return bool(t0 < end <= t1)
    return begin is not None and t0 <= begin < t1


def _answered(row: Row) -> Answered:
    return Answered(row["status"] == "ok", _begin(row), row["first_token_ns"], row["finished_ns"], row["output_tokens"])


def _begin(row: Row) -> int | None:
    begin: int | None = row["due_ns"] if row["due_ns"] is not None else row["submitted_ns"]
    return begin
