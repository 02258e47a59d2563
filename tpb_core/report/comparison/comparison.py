"""A comparison of two groups of runs: admitted, paired or not, line by line, with the reasons for what cannot be said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tpb_core.api.errors import BadInput, Refused
from tpb_core.report.comparison.admission import (
    Admitted,
    Permissions,
    admit,
    refuse_empty,
    refuse_mixed_worlds,
    refuse_other_scopes,
)
from tpb_core.report.comparison.differences import Difference, differences
from tpb_core.report.comparison.lines import Line, counted_lines, energy_lines
from tpb_core.report.comparison.pairing import in_step, pairs_of
from tpb_core.report.comparison.phase_lines import METHODS_DIFFER, Side, phase_lines
from tpb_core.report.comparison.ratio import WITHIN_RUN
from tpb_core.report.comparison.records import RunRecord
from tpb_core.report.comparison.selection import Group
from tpb_core.report.comparison.study_figures import StudyFigures

TOTAL = "total"
PAIRINGS = ("auto", "paired", "independent")


@dataclass(frozen=True)
class Comparison:
    """Other over base."""

    base: str
    other: str
    base_runs: list[RunRecord]
    other_runs: list[RunRecord]
    paired: bool
    lines: list[Line]
    differences: list[Difference]
    same_sensors: bool
    uncalibrated: list[str] = field(default_factory=list)
    """Sensors of whose gain or offset errors nothing is known."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    tolerated: list[tuple[str, str]] = field(default_factory=list)
    subtracted: int = 0
    """Runs that only serve a difference (those with one output token); they are in no figure of single runs."""
    unusable: list[str] = field(default_factory=list)
    """Why a figure of a whole study takes no part, a sentence each."""

    def verdict(self, line: Line) -> str:
        """What may be concluded. The total interval decides; without calibration data the rig's own does, where both sides are one rig.

        Of single runs only these runs: how much runs differ from each other is not known.
        """
        ratio = line.ratio
        if ratio.value is None:
            return f"not comparable: {ratio.reason}"
        decides, where = ratio.total, ""
        if decides is None and self.same_sensors and ratio.within is not None:
            decides, where = ratio.within, ", on this rig"
        if decides is None:
            return f"cannot be told: {ratio.total_reason}"
        if decides.holds_one:
            return f"no difference shown{where}"
        alone = " in these runs" if ratio.kind == WITHIN_RUN else ""
        return ("lower" if ratio.value < 1 else "higher") + alone + where


def compare(
    base: Group, other: Group, *, window: str, scope: str, permissions: Permissions, pairing: str = "auto", phase: str | None = None
) -> Comparison:
    """Compare two groups; `phase` asks for one phase alone.

    Raises Refused where they must not be compared, BadInput for a run that stands on both sides.
    """
    admitted = [admit(group.records, scope, permissions) for group in (base, other)]
    for group, each in zip((base, other), admitted, strict=True):
        refuse_empty(group.label, each)
    studies = [_usable(group.studies, each.records) for group, each in zip((base, other), admitted, strict=True)]
    left, right = (_of_their_own(each.records, group.studies) for group, each in zip((base, other), admitted, strict=True))
    subtracted = sum(len(each.records) for each in admitted) - len(left) - len(right)
    twice = {record.run_id for record in left} & {record.run_id for record in right}
    if twice:
        raise BadInput(f"{', '.join(sorted(twice)[:3])} stands on both sides.", "Give two groups of runs that share none.")
    everything = [*left, *right]
    refuse_mixed_worlds(everything, permissions)
    refuse_other_scopes(everything, scope)
    pairs = None if pairing == "independent" else pairs_of(left, right)
    if pairing == "paired":
        pairs = pairs or in_step(left, right)
        if pairs is None or len(pairs) < 2:
            raise Refused(
                f"{len(left)} and {len(right)} runs make no pairs.",
                "Pairs need as many runs on both sides, two at least; or drop --paired.",
            )
    if pairs is not None:
        left, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    lines = energy_lines(left, right, scope, pairs is not None)
    if scope == TOTAL:
        lines += phase_lines(Side(left, studies[0]), Side(right, studies[1]), pairs is not None)
    lines += counted_lines(left, right, pairs is not None)
    lines = lines if phase is None else _of_phase(lines, phase)
    sensors = [sensors_of(group, scope) for group in (left, right)]
    return Comparison(
        base.label,
        other.label,
        left,
        right,
        pairs is not None,
        lines,
        differences(left, right, window),
        sensors[0] == sensors[1],
        uncalibrated_of([*left, *right], scope),
        *_remarks(admitted),
        subtracted,
        [reason for group, each in zip((base, other), admitted, strict=True) for reason in _unusable(group.studies, each)],
    )


def _usable(studies: Sequence[StudyFigures], records: Sequence[RunRecord]) -> list[StudyFigures]:
    """Figures of a study of which every run takes part; one that was left out, or not asked for, would be in them unseen."""
    there = {record.run_id for record in records}
    return [each for each in studies if each.runs and each.runs <= there]


def _unusable(studies: Sequence[StudyFigures], admitted: Admitted) -> Iterator[str]:
    """Of studies whose point is on this side, those that are not used because of runs that were left out, or of what they do not say."""
    left_out = {run_id for run_id, _ in admitted.left_out}
    for each in studies:
        name = f"What {each.method} found over the study {each.study_id} takes no part"
        if not each.runs:
            yield f"{name}: it does not say which runs entered. Make it again:  tpb attribute RUNS --with {each.method}"
        elif gone := sorted(each.runs & left_out):
            yield f"{name}: {', '.join(gone)} entered it and {'is' if len(gone) == 1 else 'are'} left out."


def _of_their_own(records: list[RunRecord], studies: Sequence[StudyFigures]) -> list[RunRecord]:
    """The runs without those that only entered a study to be subtracted; where nothing else is there, they stand for themselves."""
    subtracted: set[str] = set()
    for each in studies:
        if any(each.is_about(record) for record in records):
            subtracted |= {record.run_id for record in records if record.run_id in each.runs and not each.is_about(record)}
    return [record for record in records if record.run_id not in subtracted]


def _of_phase(lines: list[Line], phase: str) -> list[Line]:
    """The lines of one phase. Raises Refused where there is none, or where the two sides have it by other methods."""
    found = [line for line in lines if line.title.startswith(f"{phase},")]
    if not found:
        raise Refused(f"no run has a figure for {phase}.", "See why, in the page of a run:  tpb report RUN")
    for line in found:
        if line.ratio.reason is not None and line.ratio.reason.startswith(METHODS_DIFFER):
            methods = line.ratio.reason.partition(": ")[2]
            raise Refused(f"{phase} comes from other methods on the two sides: {methods}.", "Use one:  tpb attribute RUN --with NAME")
    return found


def _remarks(admitted: Sequence[Admitted]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    return [row for each in admitted for row in each.left_out], [row for each in admitted for row in each.tolerated]


def _domains(record: RunRecord, scope: str) -> list[str]:
    return list((record.scope_energy.get(scope) or {}).get("domains") or [scope])


def sensors_of(records: Sequence[RunRecord], scope: str) -> set[str]:
    """The physical sensors of a group; one without a stated identity is known on its own machine only."""
    return {
        str(row["sensor"] or f"{record.machine or record.run_id}:{row['channel']}")
        for record in records
        for row in record.givers(_domains(record, scope))
    }


def uncalibrated_of(records: Sequence[RunRecord], scope: str) -> list[str]:
    """The sensors of whose gain or offset nothing is known."""
    rows = [row for record in records for row in record.givers(_domains(record, scope))]
    return sorted({str(row["sensor"] or row["channel"]) for row in rows if row["gain_u_rel"] is None or row["offset_u_w"] is None})
