"""From the rows of a run to figures on the logarithmic scale: energy of a scope or a phase over a count, with its budget."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tpb_core.api.codes import Reason
from tpb_core.report.comparison.log_figure import Key, LogFigure, Part, log_figure
from tpb_core.report.comparison.records import Row, RunRecord


@dataclass(frozen=True)
class Energy:
    """Joules of a scope or phase in the window, with the signed terms of their budget; None beside the reason."""

    joules: float | None
    terms: tuple[tuple[Key, Part], ...] = ()
    stated: bool = False
    calibrated: bool = False
    method: str | None = None
    evidence: str | None = None
    reason: str | None = None

    def per(self, count: float | None) -> LogFigure | None:
        """ln of the energy over an exact count; None where either is missing or not positive."""
        if self.joules is None or not count:
            return None
        return log_figure(self.joules, count, self.terms, stated=self.stated, calibrated=self.calibrated)


def scope_energy(record: RunRecord, scope: str) -> Energy:
    """The energy of a scope, as the database has it: its domains added, each by the method that comes first."""
    row = record.scope_energy.get(scope)
    if row is None:
        return Energy(None, reason=str(Reason.NO_SENSOR))
    if row["joules"] is None:
        return Energy(None, method=row["method"], evidence=row["evidence"], reason=row["reason"] or str(Reason.NO_READING))
    budget = [
        term for domain in row["domains"] for term in _terms(record, domain, "total", _preferred_method(record, domain, row["method"]))
    ]
    return energy_of(record, row, budget)


def phase_methods(record: RunRecord, phase: str) -> list[str]:
    """Methods that have a figure for a phase of the whole run."""
    rows = (r for r in record.energy if r["domain"] == "total" and r["phase"] == phase and r["joules"] is not None)
    return sorted({row["method"] for row in rows})


def phase_energy(record: RunRecord, phase: str, method: str | None) -> Energy:
    """The energy of a phase of the whole run by a method (None: whichever has one)."""
    rows = [row for row in record.energy if row["domain"] == "total" and row["phase"] == phase]
    if method is not None:
        rows = [row for row in rows if row["method"] == method]
    row = min(rows, key=lambda row: (row["joules"] is None, row["method"]), default=None)
    if row is None:
        return Energy(None, reason=str(Reason.NOT_ATTRIBUTED))
    if row["joules"] is None:
        return Energy(None, method=row["method"], evidence=row["evidence"], reason=row["reason"])
    return energy_of(record, row, _terms(record, "total", phase, row["method"]))


def energy_of(record: RunRecord, row: Row, budget: list[Row]) -> Energy:
    """The energy of a row of `energy` with its budget. `record`: a run whose sensors measured it."""
    terms = tuple(_parts(record, budget)) if budget else tuple(_stated_parts(record, row))
    return Energy(
        row["joules"],
        terms,
        stated=row["u_without_calibration_j"] is not None,
        calibrated=row["u_total_j"] is not None,
        method=row["method"],
        evidence="simulated" if record.run["virtual"] else row["evidence"],
    )


def _terms(record: RunRecord, domain: str, phase: str, method: str | None) -> list[Row]:
    return [row for row in record.budget if (row["domain"], row["phase"], row["method"]) == (domain, phase, method)]


def _preferred_method(record: RunRecord, domain: str, methods: str | None) -> str | None:
    """Of a domain's methods the one that its scope took: a figure first, then `totals`, then by name."""
    among = set((methods or "").split("; "))
    rows = [row for row in record.energy if row["domain"] == domain and row["phase"] == "total" and row["method"] in among]
    row = min(rows, key=lambda row: (row["joules"] is None, not row["method"].startswith("totals"), row["method"]), default=None)
    return None if row is None else str(row["method"])


def _parts(record: RunRecord, budget: list[Row]) -> Iterator[tuple[Key, Part]]:
    """Budget rows as parts. A channel without a stated sensor is known by its name, which other machines use too: so theirs is added."""
    nameless = {row["channel"] for row in record.channels if row["sensor"] is None}
    stated = {row["sensor"] for row in record.channels} | {row["common_group"] for row in record.channels}
    for row in budget:
        source = row["source"]
        if source in nameless and source not in stated:
            source = f"{record.machine or record.run_id}:{source}"
        yield (row["term"], source), Part(row["du_j"], row["dof"], bool(row["calibration"]))


def _stated_parts(record: RunRecord, row: Row) -> Iterator[tuple[Key, Part]]:
    """A figure of another program that states uncertainties but no budget: nothing in them can cancel."""
    within, total = row["u_without_calibration_j"], row["u_total_j"]
    if within is not None:
        yield ("stated", record.run_id), Part(within, row["dof"])
    if within is not None and total is not None and total > within:
        yield ("stated_calibration", record.run_id), Part(math.sqrt(total**2 - within**2), None, True)
