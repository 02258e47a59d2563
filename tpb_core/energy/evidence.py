"""Levels of evidence of a study: `device`, `host`, `wall`, else `estimate`; and what it would need for the next one.

The levels are those of docs/explanation/measuring-power.md. They are named after what was metered; L1 to L3 mean something
stricter elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tpb_core.energy.domains import Tree
from tpb_core.energy.run_energy import RunEnergy

if TYPE_CHECKING:
    from tpb_core.api import Ledger, RunView

LEVELS = ("estimate", "device", "host", "wall")
"""Weakest first."""

MEASURED = ("measured", "modelled", "simulated")
HOST_SCOPES = ("package", "dram", "node", "module", "soc", "outlet", "psu")
NODE_SCOPES = ("node", "outlet", "psu")


@dataclass(frozen=True)
class Demands:
    """What a level demands of every run and of the study."""

    seconds: float
    refreshes: float
    repeats: int
    idle_windows: tuple[str, ...]
    interval: float | None
    u_total: float | None


DEMANDS = {
    "device": Demands(60.0, 600.0, 3, ("idle_loaded_before",), 0.05, None),
    "host": Demands(300.0, 0.0, 5, ("idle_loaded_before", "idle_loaded_after"), 0.05, 1.0),
    "wall": Demands(600.0, 0.0, 5, ("idle_loaded_before", "idle_loaded_after"), 0.05, 0.02),
}


@dataclass(frozen=True)
class Level:
    """The level of a study, the next one (None at the top), and what is missing for it, one sentence each."""

    level: str
    next: str | None
    missing: list[str] = field(default_factory=list)


def level_of(runs: Sequence[RunView], ledgers: Sequence[Ledger]) -> Level:
    """The level of the repeats of one point. `ledgers`: the totals ledger of each run, in the same order."""
    reached = "estimate"
    for name in LEVELS[1:]:
        missing = missing_for(name, runs, ledgers)
        if missing:
            return Level(reached, name, missing)
        reached = name
    return Level(reached, None)


def missing_for(level: str, runs: Sequence[RunView], ledgers: Sequence[Ledger]) -> list[str]:
    """What a study lacks for a level; empty where it has all."""
    demands = DEMANDS[level]
    sentences: list[str] = []
    if len(runs) < demands.repeats:
        sentences.append(f"{demands.repeats} repeats (there are {len(runs)}): run.repeats={demands.repeats}")
    energies = [RunEnergy(run) for run in runs]
    if not runs or not all(_scope_reached(level, energy.tree) for energy in energies):
        sentences.append(_SCOPE_NEEDED[level])
    for energy in energies:
        window = energy.window("measure")
        refresh = _slowest_refresh(energy)
        needed = max(demands.seconds, demands.refreshes * refresh)
        if window is None or window.duration_s < needed:
            have = 0.0 if window is None else window.duration_s
            sentences.append(f"a measured window of {needed:.0f} s in every run (run {energy.run_id} has {have:.0f} s): more load.requests")
            break
    for name in demands.idle_windows:
        short = [e.run_id for e in energies if (w := e.window(name)) is None or w.duration_s < 60.0]
        if short:
            sentences.append(f"a window {name} of 60 s in every run (run {short[0]} has none): run.idle_s=60")
    sentences += _widths(demands, ledgers)
    if level in ("host", "wall") and any(_order(run) not in ("random", "abba") for run in runs):
        sentences.append("repeats in a random order: run.order=random")
    failed = sorted({row.check for ledger in ledgers for row in ledger.validity if row.gate and row.passed is not True})
    if failed:
        sentences.append(f"every validity gate passed (failed: {', '.join(failed)})")
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
        return bool(scopes & set(NODE_SCOPES)) or {"package", "dram"} <= scopes or bool(scopes & {"module", "soc"})
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


def _order(run: RunView) -> str:
    return str(((run.manifest.get("config") or {}).get("run") or {}).get("order") or "")


def _widths(demands: Demands, ledgers: Sequence[Ledger]) -> list[str]:
    """Interval and total uncertainty of the run's total in `measure`, relative."""
    sentences: list[str] = []
    rows = [
        next((r for r in ledger.energy if (r.window, r.domain, r.phase, r.basis) == ("measure", "total", "total", "gross")), None)
        for ledger in ledgers
    ]
    known = [row for row in rows if row is not None and row.joules]
    if len(known) < len(ledgers) or not known:
        return ["a figure for the energy of every run"]
    if demands.interval is not None:
        widest = max((row.ci_high_j or 0.0) - (row.joules or 0.0) for row in known) / min(abs(row.joules or 1.0) for row in known)
        if widest > demands.interval:
            sentences.append(f"intervals of at most {100 * demands.interval:.0f} % (the widest is {100 * widest:.1f} %)")
    if demands.u_total is not None:
        if any(row.u_total_j is None for row in known):
            sentences.append("a stated calibration of every sensor, so that the total uncertainty is known")
        elif max((row.u_total_j or 0.0) / abs(row.joules or 1.0) for row in known) > demands.u_total:
            sentences.append(f"a total uncertainty of at most {100 * demands.u_total:.0f} %")
    return sentences
