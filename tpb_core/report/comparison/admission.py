"""Which runs may stand beside each other: what is left out with its reason, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tpb_core.api.errors import Refused
from tpb_core.report.comparison.records import RunRecord

ESTIMATE = "its energy is an estimate, not a measurement"
REPORTED = "its energy was reported by an imported source, without samples"


@dataclass(frozen=True)
class Permissions:
    """What the user asked for although it is kept out by default."""

    invalid: bool = False
    estimates: bool = False
    simulated: bool = False
    reported: bool = False


@dataclass
class Admitted:
    """Runs that take part, and `(run_id, reason)` of those that do not, or that do only because it was asked for."""

    records: list[RunRecord] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    tolerated: list[tuple[str, str]] = field(default_factory=list)


def admit(records: Iterable[RunRecord], scope: str, permissions: Permissions) -> Admitted:
    """Leave out invalid runs, estimates and reported totals unless they were asked for."""
    admitted = Admitted()
    for record in records:
        reasons = [(why_invalid(record), permissions.invalid), (_unmeasured(record, scope, "estimated", ESTIMATE), permissions.estimates)]
        reasons.append((_unmeasured(record, scope, "reported", REPORTED), permissions.reported))
        against = [reason for reason, permitted in reasons if reason is not None and not permitted]
        if against:
            admitted.left_out.append((record.run_id, "; ".join(against)))
            continue
        admitted.tolerated += [(record.run_id, reason) for reason, _ in reasons if reason is not None]
        admitted.records.append(record)
    return admitted


def why_invalid(record: RunRecord) -> str | None:
    """Why a run is not valid; None where it is."""
    run = record.run
    if run["status"] != "complete":
        return f"status {run['status']}" + (f": {run['status_reason']}" if run["status_reason"] else "")
    if run["valid"] is None:
        return "not attributed yet (tpb attribute)"
    return None if run["valid"] else f"not valid: {', '.join(run['failed_gates'])}"


def _unmeasured(record: RunRecord, scope: str, evidence: str, reason: str) -> str | None:
    row = record.scope_energy.get(scope)
    return reason if row is not None and row["evidence"] == evidence else None


def refuse_empty(word: str, admitted: Admitted) -> None:
    """Raise Refused where nothing is left of a group, with the reason of each run."""
    if admitted.records:
        return
    reasons = [f"  {run_id}: {reason}" for run_id, reason in admitted.left_out]
    said = [reason.split("; ") for _, reason in admitted.left_out]
    flags = ["--with-invalid"] * any({*reason} - {ESTIMATE, REPORTED} for reason in said)
    flags += ["--with-estimates"] * any(ESTIMATE in reason for reason in said)
    flags += ["--with-reported"] * any(REPORTED in reason for reason in said)
    fix = f"To see it all the same, add: {' '.join(flags)}" if flags else "Measure it again."
    raise Refused(f"nothing of {word!r} can be compared.", fix, reasons)


def refuse_mixed_worlds(records: Sequence[RunRecord], permissions: Permissions) -> None:
    """Raise Refused where simulated runs would stand beside real ones."""
    simulated = [record.run_id for record in records if record.simulated]
    if simulated and len(simulated) < len(records) and not permissions.simulated:
        raise Refused(
            f"simulated runs do not stand beside real ones: {', '.join(simulated[:5])}",
            "Compare runs of one kind, or add --with-simulated if you mean it.",
        )


def scopes_in_total(record: RunRecord) -> tuple[str, ...]:
    """The scopes that entered the run's total, sorted."""
    rows = [row for row in record.energy if row["domain"] == "total" and row["phase"] == "total"]
    return tuple(sorted({scope for row in rows for scope in row["scopes"] or ()}))


def refuse_other_scopes(records: Sequence[RunRecord], scope: str) -> None:
    """Raise Refused where the totals do not hold the same things: a GPU alone against a GPU and its host."""
    if scope != "total":
        return
    found = {
        scopes_in_total(record): record.run_id for record in records if (record.scope_energy.get("total") or {}).get("joules") is not None
    }
    if len(found) <= 1:
        return
    common = set.intersection(*(set(record.scope_energy) for record in records)) - {"total"}
    fix = f"Compare what all of them measured: --scope {' or --scope '.join(sorted(common))}" if common else "They have no scope in common."
    notes = [f"  {run_id}: total of {' + '.join(scopes) or 'nothing'}" for scopes, run_id in found.items()]
    raise Refused("the totals of these runs are not totals of the same things.", fix, notes)
