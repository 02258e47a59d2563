"""Energy of every scope of a run in every window: domains of one scope added with their uncertainties. Rows of the table `scope_energy`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tpb_core.api.channel import EVIDENCE, LEDGER_KINDS, Channel
from tpb_core.api.codes import Reason
from tpb_core.store.bundle import Bundle

TOTAL, REPORTED = "total", "reported"
Row = dict[str, Any]


def scope_energy_of(bundle: Bundle) -> list[Row]:
    """One row for each window that has an end and each scope: `total` and the scopes of the domains that the run uses.

    What an imported source reported stands where nothing else was recorded of a domain, never in for a measured figure that is missing.

    Gross energy of the whole window, by the method that comes first: one with a figure, `totals`, then by name. A scope of several
    domains (GPUs of one server) is their sum; its uncertainty comes from their budgets, where equal terms of equal sources add with
    their sign. Domains inside another one of the same scope are in it already.
    """
    energy = bundle.table("energy")
    rows, terms = _gross_totals(energy), _gross_totals(bundle.table("budget"))
    scopes = _scopes(bundle.channels, rows)
    virtual = bool((bundle.manifest.get("clock") or {}).get("virtual"))
    missing = _why_missing(bundle, energy is not None)
    found = _by(rows, ("window", "domain"))
    terms_of = _by(terms, ("window", "domain", "method"))
    result = []
    for window in bundle.windows:
        for scope, domains in scopes.items():
            chosen = [_preferred(found.get((window.window, domain), [])) for domain in domains]
            present = [row for row in chosen if row is not None]
            line = _line(present, [terms_of.get((window.window, row["domain"], row["method"]), []) for row in present], missing)
            if virtual and line["evidence"] is not None:
                line["evidence"] = "simulated"
            result.append({"window": window.window, "scope": scope, "domains": list(domains), **line})
    return result


def _gross_totals(table: pa.Table | None) -> list[Row]:
    if table is None:
        return []
    chosen = pc.and_(pc.is_in(table["phase"], pa.array([TOTAL])), pc.is_in(table["basis"], pa.array(["gross"])))
    rows: list[Row] = table.filter(chosen).to_pylist()
    return rows


def _scopes(channels: Sequence[Channel], rows: Sequence[Row]) -> dict[str, list[str]]:
    """The domains of each scope: what the run uses, the coarsest of each branch."""
    scopes: dict[str, str] = {}
    parents: dict[str, str | None] = {}
    used: dict[str, bool] = {}
    with_rows = {row["domain"] for row in rows}
    for channel in sorted(channels, key=lambda channel: channel.role not in ("primary", "part")):
        parents.setdefault(channel.domain, channel.parent)
        if channel.kind in LEDGER_KINDS or channel.domain in with_rows:
            scopes.setdefault(channel.domain, channel.scope)
            used[channel.domain] = used.get(channel.domain, False) or channel.allocated
    for row in rows:  # totals that another program reported have no channel
        if row["domain"] not in scopes and row["domain"] != TOTAL and not row["domain"].endswith("/rest") and len(row["scopes"] or ()) == 1:
            scopes[row["domain"]], used[row["domain"]] = row["scopes"][0], True
    result: dict[str, list[str]] = {TOTAL: [TOTAL]}
    for domain, scope in sorted(scopes.items()):
        if used[domain] and not any(scopes.get(above) == scope for above in _above(domain, parents)):
            result.setdefault(scope, []).append(domain)
    return result


def _above(domain: str, parents: dict[str, str | None]) -> Iterable[str]:
    above = parents.get(domain)
    while above is not None:
        yield above
        above = parents.get(above)


def _by(rows: Iterable[Row], key: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in key)].append(row)
    return groups


def _preferred(rows: Sequence[Row]) -> Row | None:
    recorded = [row for row in rows if row["evidence"] not in (None, REPORTED)]
    rows = recorded or [row for row in rows if row["evidence"] == REPORTED] or rows
    return min(rows, key=lambda row: (row["joules"] is None, not row["method"].startswith("totals"), row["method"]), default=None)


def _why_missing(bundle: Bundle, attributed: bool) -> Reason:
    if not any(channel.kind in LEDGER_KINDS for channel in bundle.channels):
        return Reason.NO_SENSOR
    return Reason.NO_READING if attributed else Reason.NOT_ATTRIBUTED


_COPIED = (
    "joules", "u_without_calibration_j", "u_total_j", "dof", "ci_low_j", "ci_high_j", "ci_total_low_j", "ci_total_high_j", "ci_kind",
    "mean_w", "peak_w", "peak_averaging_ms", "evidence", "derivation", "method", "attributor_version", "reason",
)  # fmt: skip


def _line(rows: Sequence[Row], terms: Sequence[Sequence[Row]], missing: Reason) -> Row:
    if not rows:
        return {**dict.fromkeys(_COPIED), "reason": missing.value}
    if len(rows) == 1:
        return {name: rows[0][name] for name in _COPIED}
    line: Row = dict.fromkeys(_COPIED)
    line |= {
        "method": "; ".join(sorted({row["method"] for row in rows})),
        "attributor_version": "; ".join(sorted({row["attributor_version"] or "" for row in rows})) or None,
        "evidence": _worst([row["evidence"] for row in rows], EVIDENCE),
        "derivation": _worst([row["derivation"] for row in rows], ("metered", "apportioned", "modelled")),
    }
    if any(row["joules"] is None for row in rows):
        return line | _span(rows)
    line["joules"] = joules = math.fsum(row["joules"] for row in rows)
    line["mean_w"] = _sum(row["mean_w"] for row in rows)  # powers over the same window add; their peaks do not
    kinds = {row["ci_kind"] for row in rows}
    line["ci_kind"] = kinds.pop() if len(kinds) == 1 else None
    if all(row["u_without_calibration_j"] is not None for row in rows) and all(terms):
        every = [term for each in terms for term in each]
        u, dof = _combined(term for term in every if not term["calibration"])
        line |= {"u_without_calibration_j": u, "dof": dof}
        line["ci_low_j"], line["ci_high_j"] = _interval(joules, u, dof)
        if all(row["u_total_j"] is not None for row in rows):
            line["u_total_j"], total_dof = _combined(every)
            line["ci_total_low_j"], line["ci_total_high_j"] = _interval(joules, line["u_total_j"], total_dof)
    return line


def _span(rows: Sequence[Row]) -> Row:
    """The span of a sum in which a figure is missing: known where every missing figure is itself a span."""
    reason = next(row["reason"] for row in rows if row["joules"] is None)
    low = _sum(row["joules"] if row["joules"] is not None else row["ci_low_j"] for row in rows)
    high = _sum(row["joules"] if row["joules"] is not None else row["ci_high_j"] for row in rows)
    whole = low is not None and high is not None and all(row["ci_kind"] == "span" for row in rows if row["joules"] is None)
    return {"reason": reason, **({"ci_low_j": low, "ci_high_j": high, "ci_kind": "span"} if whole else {})}


def _combined(terms: Iterable[Row]) -> tuple[float, float | None]:
    """Standard uncertainty and degrees of freedom (Welch-Satterthwaite, JCGM 100 G.4; None: many) of a sum by its budget."""
    signed: dict[tuple[str, str], float] = defaultdict(float)
    dofs: dict[tuple[str, str], float] = {}
    for term in terms:
        key = (term["term"], term["source"])
        signed[key] += term["du_j"]
        if term["dof"] is not None:
            dofs[key] = min(term["dof"], dofs.get(key, math.inf))
    variance = math.fsum(value**2 for value in signed.values())
    weight = math.fsum(signed[key] ** 4 / dof for key, dof in dofs.items())
    return math.sqrt(variance), variance**2 / weight if weight > 0 else None


def _interval(value: float, u: float, dof: float | None) -> tuple[float, float]:
    from scipy import special

    k = float(special.ndtri(0.975)) if dof is None else float(special.stdtrit(max(dof, 1.0), 0.975))
    return value - k * u, value + k * u


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if any(value is None for value in known) else math.fsum(value for value in known if value is not None)


def _worst(words: Sequence[str | None], order: Sequence[str]) -> str | None:
    known = [order.index(word) for word in words if word is not None]
    return order[max(known)] if known else None
