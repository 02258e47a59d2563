"""The lines of prefill and decode: by each method that both sides have, of single runs or of whole studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from tpb_core.report.comparison.energy_figures import phase_energy, phase_methods
from tpb_core.report.comparison.lines import Line, energy_line
from tpb_core.report.comparison.ratio import BETWEEN_RUNS, Ratio, ratio_of
from tpb_core.report.comparison.records import RunRecord
from tpb_core.report.comparison.study_figures import StudyFigures

METHODS_DIFFER = "methods_differ"
SEVERAL_POINTS = "several_points: narrow the side to one, for example with load_size = 8"
_PHASES = (("prefill", "input_tokens", "prefill, J per input token"), ("decode", "output_tokens", "decode, J per output token"))


@dataclass(frozen=True)
class Side:
    """The runs of one side that stand for themselves, and what was found over all of its runs."""

    records: Sequence[RunRecord]
    studies: Sequence[StudyFigures] = field(default_factory=list)

    def of_study(self, phase: str) -> dict[str, list[StudyFigures]]:
        """Figures for a phase over a whole study, by method."""
        found: dict[str, list[StudyFigures]] = {}
        for each in self.studies:
            if each.phase(phase, self.records).joules is not None:
                found.setdefault(each.method, []).append(each)
        return found

    def methods(self, phase: str) -> list[str]:
        """Every method that has a figure for a phase of one of the runs, or of the study."""
        return sorted({*self.of_study(phase), *(method for record in self.records for method in phase_methods(record, phase))})


def phase_lines(base: Side, other: Side, paired: bool) -> list[Line]:
    """J per token of each phase that either side has; the method is named where there are several."""
    lines: list[Line] = []
    for phase, count, title in _PHASES:
        found = _of_runs(base, other, phase, count, title, paired) + _of_studies(base, other, phase, count, title)
        named = [side.methods(phase) for side in (base, other)]
        if not found and any(named):
            reason = f"{METHODS_DIFFER}: {' / '.join(', '.join(names) or 'none' for names in named)}"
            found = [Line(title, "J", None, None, Ratio(None, reason=reason))]
        lines += found if len(found) == 1 else [replace(line, title=f"{line.title}, {line.method}") for line in found]
    return lines


def _of_runs(base: Side, other: Side, phase: str, count: str, title: str, paired: bool) -> list[Line]:
    """By the methods that have a figure in every run."""
    methods = [set(phase_methods(record, phase)) for record in (*base.records, *other.records)]

    def line(method: str) -> Line:
        return energy_line(title, base.records, other.records, lambda record: phase_energy(record, phase, method), count, paired)

    return [line(method) for method in sorted(set.intersection(*methods))]


def _of_studies(base: Side, other: Side, phase: str, count: str, title: str) -> list[Line]:
    """By the study methods that both sides have; their intervals are between runs, so the two sides are independent."""
    first, second = base.of_study(phase), other.of_study(phase)
    return [_study_line(base, other, first[method], second[method], phase, count, title) for method in sorted(first.keys() & second.keys())]


def _study_line(base: Side, other: Side, first: list[StudyFigures], second: list[StudyFigures], phase: str, count: str, title: str) -> Line:
    method = first[0].method
    if len(first) > 1 or len(second) > 1:
        return Line(title, "J", None, None, Ratio(None, reason=SEVERAL_POINTS), method)
    energies = [each.phase(phase, side.records) for each, side in ((first[0], base), (second[0], other))]
    tokens = [each.tokens(count, side.records) for each, side in ((first[0], base), (second[0], other))]
    figures = [energy.per(number) for energy, number in zip(energies, tokens, strict=True)]
    values = [
        energy.joules / number if energy.joules is not None and number else None for energy, number in zip(energies, tokens, strict=True)
    ]
    if figures[0] is None or figures[1] is None:
        return Line(title, "J", values[0], values[1], Ratio(None, reason="not_positive"), method)
    ratio = replace(ratio_of([figures[0]], [figures[1]]), kind=BETWEEN_RUNS)
    return Line(title, "J", values[0], values[1], ratio, method)
