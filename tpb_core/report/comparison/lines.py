"""The lines of a comparison: which figure, what each side has of it, and its ratio."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from tpb_core.api.codes import Reason
from tpb_core.report.comparison.energy_figures import Energy, scope_energy
from tpb_core.report.comparison.log_figure import LogFigure
from tpb_core.report.comparison.ratio import Ratio, counted_ratio, ratio_of
from tpb_core.report.comparison.records import RunRecord


@dataclass(frozen=True)
class Line:
    """One figure of both sides. Values are geometric means over the runs of a side."""

    title: str
    unit: str
    base: float | None
    other: float | None
    ratio: Ratio
    method: str | None = None
    energy: bool = True


def energy_lines(base: Sequence[RunRecord], other: Sequence[RunRecord], scope: str, paired: bool) -> list[Line]:
    """J per output token and per request of a scope."""
    return [
        energy_line("J per output token", base, other, lambda r: scope_energy(r, scope), "output_tokens", paired),
        energy_line("J per request", base, other, lambda r: scope_energy(r, scope), "requests", paired),
    ]


def counted_lines(base: Sequence[RunRecord], other: Sequence[RunRecord], paired: bool) -> list[Line]:
    """Throughput and latencies."""
    kinds: list[tuple[str, str, Callable[[RunRecord], float | None]]] = [
        ("output tokens/s", "1/s", _throughput),
        ("TTFT, median", "ms", lambda record: _performance(record, "ttft_p50_ms")),
        ("TTFT, 95th percentile", "ms", lambda record: _performance(record, "ttft_p95_ms")),
        ("TPOT, median", "ms", lambda record: _performance(record, "tpot_p50_ms")),
        ("latency, median", "s", lambda record: _performance(record, "latency_p50_s")),
    ]
    lines = []
    for title, unit, value in kinds:
        groups = [[value(record) for record in group] for group in (base, other)]
        known = [[each for each in group if each is not None and each > 0] for group in groups]
        if any(len(have) != len(group) for have, group in zip(known, groups, strict=True)):
            ratio = Ratio(None, reason=str(Reason.NO_TOKEN_STAMPS) if "TTFT" in title or "TPOT" in title else str(Reason.NO_REQUESTS))
        else:
            ratio = counted_ratio(known[0], known[1], paired=paired)
        means = [_geometric(have) if len(have) == len(group) else None for have, group in zip(known, groups, strict=True)]
        lines.append(Line(title, unit, means[0], means[1], ratio, energy=False))
    return lines


def energy_line(
    title: str,
    base: Sequence[RunRecord],
    other: Sequence[RunRecord],
    energy: Callable[[RunRecord], Energy],
    count: str,
    paired: bool,
) -> Line:
    """A line of energies over a count of the table `performance`, a figure for each run."""
    energies = [[energy(record) for record in group] for group in (base, other)]
    figures: list[list[LogFigure]] = []
    reason: str | None = None
    for group, found in zip((base, other), energies, strict=True):
        logs = []
        for record, each in zip(group, found, strict=True):
            figure = each.per(_performance(record, count))
            if figure is None:
                reason = reason or f"{record.run_id}: {_why_missing(record, each, count)}"
            else:
                logs.append(figure)
        figures.append(logs)
    methods = "; ".join(sorted({each.method for found in energies for each in found if each.method}))
    means = [
        math.exp(fmean(f.log for f in logs)) if len(logs) == len(group) else None
        for logs, group in zip(figures, (base, other), strict=True)
    ]
    ratio = Ratio(None, reason=reason) if reason else ratio_of(figures[0], figures[1], paired=paired)
    return Line(title, "J", means[0], means[1], ratio, methods or None)


def _why_missing(record: RunRecord, energy: Energy, count: str) -> str:
    if energy.joules is None:
        return energy.reason or str(Reason.NOT_ATTRIBUTED)
    performance = record.performance or {}
    if not performance.get(count):
        return str(performance.get(f"{count}_reason") or (Reason.NO_REQUESTS if count == "requests" else Reason.NO_TOKENS))
    return "not_positive"


def _throughput(record: RunRecord) -> float | None:
    tokens, seconds = _performance(record, "output_tokens"), _performance(record, "duration_s")
    return None if not tokens or not seconds else tokens / seconds


def _performance(record: RunRecord, column: str) -> float | None:
    value = (record.performance or {}).get(column)
    return None if value is None else float(value)


def _geometric(values: Sequence[float]) -> float | None:
    return math.exp(fmean(math.log(value) for value in values)) if values else None
