"""What a run lacks for each level of evidence: one validity row a level, from which the level of a study is told."""

from __future__ import annotations

from typing import Any

from tpb_core.api import EnergyRow, ValidityRow
from tpb_core.api.levels import CHECK_PREFIX, DEMANDS, IDLE_S, RANDOMISED, SEPARATOR, Demands
from tpb_core.energy.domains import Tree
from tpb_core.energy.ledger import TOTAL
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.energy.validity import CHECKS

WINDOW = "measure"
MEASURED = ("measured", "modelled", "simulated")
HOST_SCOPES = ("module", "soc")
NODE_SCOPES = ("node", "outlet", "psu")


def level_rows(energy: RunEnergy, rows: list[EnergyRow]) -> list[ValidityRow]:
    """One row a level: how many of its demands this run does not meet, and which. `rows`: the energy rows of the run's totals.

    Repeats, their scatter and the gates belong to the study and are not in it.
    """
    total = next((r for r in rows if (r.window, r.domain, r.phase, r.basis) == (WINDOW, TOTAL, "total", "gross")), None)
    found = []
    for level in DEMANDS:
        missing = missing_for(level, energy, total)
        reason = SEPARATOR.join(missing) or None
        found.append(CHECKS[f"{CHECK_PREFIX}{level}"].row(float(len(missing)), window=WINDOW, reason=reason))
    return found


def missing_for(level: str, energy: RunEnergy, total: EnergyRow | None) -> list[str]:
    """What a run lacks for a level, a sentence each; empty where it has all."""
    demands = DEMANDS[level]
    sentences: list[str] = []
    if not _scope_reached(level, energy.tree):
        sentences.append(_SCOPE_NEEDED[level])
    window = energy.window(WINDOW)
    needed = max(demands.seconds, demands.refreshes * _slowest_refresh(energy))
    have = 0.0 if window is None else window.duration_s
    if have < needed:
        sentences.append(f"a measured window of {needed:.0f} s (this run has {have:.1f} s), with more load.requests")
    short = [name for name in demands.idle_windows if (idle := energy.window(name)) is None or idle.duration_s < IDLE_S]
    sentences += [f"a window {name} of {IDLE_S:g} s: run.idle_s={IDLE_S:g}" for name in short]
    sentences += _widths(demands, total)
    if not demands.any_order and _order(energy) not in RANDOMISED:
        sentences.append("repeats in a random order: run.order=random")
    return sentences


_SCOPE_NEEDED = {
    "device": "a measured meter on every device of the run",
    "host": "besides the devices, a measured meter of CPU packages and DRAM, or of the node",
    "wall": "a calibrated meter of the node on the AC side (an analyser or a PDU) whose calibration is stated",
}


def _scope_reached(level: str, tree: Tree) -> bool:
    entered = [tree.domains[name] for name in tree.coarsest()]
    measured = [domain for domain in entered if domain.allocated and all(c.evidence in MEASURED for c in domain.givers)]
    if level == "device":
        return bool(measured) and len(measured) == len([domain for domain in entered if domain.allocated])
    if level == "host":
        scopes = {domain.scope for domain in measured}
        return bool(scopes & {*NODE_SCOPES, *HOST_SCOPES}) or {"package", "dram"} <= scopes
    return any(
        domain.scope in NODE_SCOPES
        and all(c.point == "ac" and c.gain_u_rel is not None and _source(c.calibration) == "calibrated" for c in domain.givers)
        for domain in measured
    )


def _source(calibration: dict[str, Any] | None) -> str | None:
    return None if calibration is None else calibration.get("source")


def _slowest_refresh(energy: RunEnergy) -> float:
    domains = [energy.tree.domains[name] for name in energy.tree.coarsest()]
    return max((energy.meter(c).observations.refresh_s for d in domains if d.allocated for c in d.givers), default=0.0)


def _order(energy: RunEnergy) -> str:
    return str(((energy.run.manifest.get("config") or {}).get("run") or {}).get("order") or "")


def _widths(demands: Demands, total: EnergyRow | None) -> list[str]:
    """Interval and total uncertainty of the energy in the window, relative."""
    if total is None or not total.joules:
        return ["a figure for the energy of the run"]
    sentences: list[str] = []
    size = abs(total.joules)
    half = None if total.ci_high_j is None else (total.ci_high_j - total.joules) / size
    if half is None:
        sentences.append("a stated uncertainty of the run's energy")
    elif half > demands.interval:
        sentences.append(f"an interval within {100 * demands.interval:.0f} % in each run (this run has {100 * half:.1f} %)")
    if demands.u_total is not None:
        if total.u_total_j is None:
            sentences.append("a stated calibration of every sensor, so that the total uncertainty is known")
        elif total.u_total_j / size > demands.u_total:
            wide = 100 * total.u_total_j / size
            sentences.append(f"a total uncertainty of at most {100 * demands.u_total:.0f} % (this run has {wide:.1f} %)")
    return sentences
