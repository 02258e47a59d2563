"""Everything that was not measured, each with its reason code and what the code means."""

from __future__ import annotations

from collections.abc import Iterator

from tpb_core.api.codes import Reason
from tpb_core.report.page.markup import Element, tag
from tpb_core.report.page.run_page import RunPage
from tpb_core.report.page.tables import Cell, section, table

_EXPECTED = {"gpu": "GPU", "package": "CPU package", "dram": "DRAM", "node": "node"}
_MEANINGS: dict[str, str] = {reason.value: reason.meaning for reason in Reason}


def missing_section(page: RunPage) -> Element:
    """One row for each figure, channel or meter that there is none of."""
    rows: dict[tuple[str, str], str] = {}
    for what, code, text in _missing(page):
        rows.setdefault((what, code), text)
    if not rows:
        return section("missing", "Not measured", tag("p", "Nothing that the format knows of is missing."))
    cells: list[list[Cell]] = [
        [what, tag("span", code, class_="mono"), text or _MEANINGS.get(code, "")] for (what, code), text in rows.items()
    ]
    return section("missing", "Not measured", table(("what", "reason", "meaning"), cells))


def _missing(page: RunPage) -> Iterator[tuple[str, str, str]]:
    facts = page.facts
    for meter in facts.unavailable:
        yield f"meter {meter['meter']}", str(meter["reason"]), str(meter["what"])
    scopes = {channel.scope for channel in page.bundle.channels}
    for scope, name in _EXPECTED.items():
        if scope not in scopes:
            yield f"{name} energy", Reason.NO_SENSOR.value, ""
    for channel in page.bundle.channels:
        if not len(page.bundle.series(channel.channel).t_ns):
            yield f"channel {channel.channel}", Reason.NO_READING.value, ""
        elif channel.kind == "power" and channel.averaging_ms is None:
            yield f"averaging time of {channel.channel}", Reason.AVERAGING_UNKNOWN.value, ""
    yield from _energies(page)
    for row in facts.results:
        if row["j_per_output_token"] is None:
            yield f"J per output token, {row['scope']}", str(row["reason"] or Reason.NOT_ATTRIBUTED.value), ""
        if row["cpu_s_per_output_token"] is None and row["scope"] == "total":
            yield "CPU seconds per output token", str(row["cpu_s_reason"] or Reason.NO_SENSOR.value), ""
    step_log = facts.manifest.get("step_log") or {}
    if not step_log.get("available"):
        yield "step log of the engine", str(step_log.get("reason") or Reason.NO_STEP_LOG.value), ""
    elif not step_log.get("members"):
        yield "members of steps", str(step_log.get("reason") or Reason.NO_MEMBERS.value), ""
    if facts.requests and page.bundle.token_stamps() is None:
        yield "time stamps of tokens", Reason.NO_TOKEN_STAMPS.value, ""
    for row in facts.validity:
        if row["passed"] is None:
            where = " ".join(str(row[key]) for key in ("window", "domain") if row[key])
            yield f"check {row['check']}" + (f" ({where})" if where else ""), str(row["reason"] or Reason.NO_READING.value), ""


def _energies(page: RunPage) -> Iterator[tuple[str, str, str]]:
    """Phases that no method has a figure for, bases without idle power, and totals without calibration."""
    found = {(row["domain"], row["phase"], row["basis"]) for row in (*page.energy, *page.net) if row["joules"] is not None}
    phases: dict[tuple[str, str, str, str], list[str]] = {}
    for row in (*page.energy, *page.net):
        gross = row["basis"] == "gross"
        if row["joules"] is None and (row["domain"], row["phase"], row["basis"]) not in found:
            if gross or row["phase"] == "total":  # why a whole basis is missing says enough
                basis = "" if gross else f", {row['basis']}"
                key = (row["domain"], basis, row["method"], str(row["reason"] or ""))
                phases.setdefault(key, []).append(row["phase"])
        elif row["joules"] is not None and row["u_total_j"] is None and row["phase"] == "total" and gross:
            yield f"total uncertainty of {row['domain']}", str(row["reason"] or Reason.NO_CALIBRATION_DATA.value), ""
    for (domain, basis, method, reason), names in phases.items():
        yield f"{', '.join(names)} of {domain}{basis} ({method})", reason, ""
