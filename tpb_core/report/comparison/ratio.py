"""The ratio of a figure between two groups of runs, with its 95 % interval within the rig and in total."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev

from tpb_core.api.codes import Reason
from tpb_core.energy.intervals import effective_dof, interval
from tpb_core.report.comparison.log_figure import Key, LogFigure, Part, weighted

BETWEEN_RUNS, WITHIN_RUN = "between_runs", "within_run"
NO_UNCERTAINTY = "no_uncertainty_stated"
ONE_RUN = "one_run"

Contribution = tuple[float, float | None]
"""Standard contribution to the logarithm and its degrees of freedom (None: many)."""


@dataclass(frozen=True)
class Spread:
    """A 95 % interval of a ratio: `u_log` is the standard uncertainty of its logarithm, `dof` by Welch-Satterthwaite (None: many)."""

    low: float
    high: float
    u_log: float
    dof: float | None

    @property
    def holds_one(self) -> bool:
        """Whether no difference has been shown."""
        return self.low <= 1.0 <= self.high


@dataclass(frozen=True)
class Ratio:
    """other / base. An interval that is not known is None beside its reason."""

    value: float | None
    within: Spread | None = None
    total: Spread | None = None
    kind: str | None = None
    paired: bool = False
    reason: str | None = None
    within_reason: str | None = None
    total_reason: str | None = None
    contributions: dict[Key, float] = field(default_factory=dict)
    """What is left of each shared or calibration term: the signed contribution to the logarithm of the ratio."""

    def inverse(self) -> Ratio:
        """base / other."""

        def turned(spread: Spread | None) -> Spread | None:
            return None if spread is None else replace(spread, low=1 / spread.high, high=1 / spread.low)

        left = {key: -du for key, du in self.contributions.items()}
        value = None if self.value is None else 1 / self.value
        return replace(self, value=value, within=turned(self.within), total=turned(self.total), contributions=left)


def ratio_of(base: Sequence[LogFigure], other: Sequence[LogFigure], *, paired: bool = False) -> Ratio:
    """The ratio of the geometric means of two groups of runs.

    d ln(B/A) = sum over keys of (du_B / B - du_A / A): what has the same term and source in both cancels as far as it is the same
    share of both. What happens once in a run enters through the spread between runs (Student's t on the logarithms: of the
    differences where `paired`, of each group where not), or through the run's own budget where a group has one run. What several runs
    share does not show in their spread and is added. The total interval adds calibration.
    """
    figures = [*base, *other]
    weights = [-1 / len(base)] * len(base) + [1 / len(other)] * len(other)
    log = fmean(figure.log for figure in other) - fmean(figure.log for figure in base)
    kind = BETWEEN_RUNS if min(len(base), len(other)) > 1 else WITHIN_RUN
    paired = paired and len(base) == len(other) > 1
    result = Ratio(math.exp(log), kind=kind, paired=paired)
    groups = [base, other]
    if any(not figure.stated for group in groups for figure in group if len(group) == 1):
        return replace(result, within_reason=NO_UNCERTAINTY, total_reason=NO_UNCERTAINTY)
    sums = weighted(figures, weights)
    spread = _paired_spread(base, other) if paired else _independent_spread(groups)
    once = [] if kind == BETWEEN_RUNS else _once(groups, sums)
    shared = [(part.du, part.dof) for part, count in sums.values() if count > 1 and not part.calibration]
    calibration = [(part.du, part.dof) for part, _ in sums.values() if part.calibration]
    left = {key: part.du for key, (part, count) in sums.items() if (count > 1 or part.calibration) and part.du != 0.0}
    result = replace(result, within=_interval(log, [*spread, *once, *shared]), contributions=left)
    if all(figure.calibrated and figure.stated for figure in figures):
        return replace(result, total=_interval(log, [*spread, *once, *shared, *calibration]))
    stated = all(figure.stated for figure in figures)
    return replace(result, total_reason=str(Reason.NO_CALIBRATION_DATA) if stated else NO_UNCERTAINTY)


def counted_ratio(base: Sequence[float], other: Sequence[float], *, paired: bool = False) -> Ratio:
    """The ratio of something counted or timed (tokens/s, TTFT): it has no budget, so its interval exists between runs only."""
    if min([*base, *other], default=0.0) <= 0:
        return Ratio(None, reason="not_positive")
    figures = [[LogFigure(math.log(value)) for value in group] for group in (base, other)]
    ratio = ratio_of(figures[0], figures[1], paired=paired)
    if ratio.kind == BETWEEN_RUNS:
        return ratio
    return replace(ratio, within=None, total=None, within_reason=ONE_RUN, total_reason=ONE_RUN)


def _paired_spread(base: Sequence[LogFigure], other: Sequence[LogFigure]) -> list[Contribution]:
    differences = [mine.log - theirs.log for theirs, mine in zip(base, other, strict=True)]
    return [(stdev(differences) / math.sqrt(len(differences)), float(len(differences) - 1))]


def _independent_spread(groups: Sequence[Sequence[LogFigure]]) -> list[Contribution]:
    return [(stdev(f.log for f in group) / math.sqrt(len(group)), float(len(group) - 1)) for group in groups if len(group) > 1]


def _once(groups: Sequence[Sequence[LogFigure]], sums: Mapping[Key, tuple[Part, int]]) -> list[Contribution]:
    """What happened once in a run that stands alone in its group; a group of several shows it in its spread."""
    alone = [group[0] for group in groups if len(group) == 1]
    return [(part.du, part.dof) for figure in alone for key, part in figure.parts.items() if sums[key][1] == 1 and not part.calibration]


def _interval(log: float, contributions: Sequence[Contribution]) -> Spread:
    u = math.sqrt(math.fsum(du**2 for du, _ in contributions))
    dof = effective_dof(contributions)
    low, high = interval(log, u, dof)
    return Spread(math.exp(low), math.exp(high), u, dof)
