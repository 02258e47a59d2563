"""The balance of a window: figures of every domain on one basis, the node's rest and the run's total, by the rules of the tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tpb_core.api import Reason
from tpb_core.energy.domain_energy import PHASE_OF, DomainEnergy, worst
from tpb_core.energy.domains import Tree
from tpb_core.energy.figures import Figure, total_of

PHASE_NAMES = tuple(PHASE_OF.values())


@dataclass(frozen=True)
class Balance:
    """One domain's line: the total and its phases on one basis. What the phases leave is `unattributed`.

    `contributors` are the domains whose phases were added (for splitting among requests); `static_j` by phase, gross only.
    """

    total: Figure | None
    reason: Reason | None = None
    phases: dict[str, Figure] = field(default_factory=dict)
    phase_reasons: dict[str, Reason] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    static_j: dict[str, float] = field(default_factory=dict)
    contributors: dict[str, list[str]] = field(default_factory=dict)
    scopes: tuple[str, ...] = ()
    evidence: str | None = None
    derivation: str | None = None

    @property
    def unattributed(self) -> Figure | None:
        """The meter minus all phases that have a figure; it may be negative."""
        return None if self.total is None else self.total - total_of(list(self.phases.values()))


def on_basis(energy: DomainEnergy, idle_w: Figure | None, duration_s: float, *, gross: bool) -> Balance:
    """A domain's line. `idle_w` is its static power in watts (a figure for one second); net lines subtract it times each duration."""
    line = Balance(
        energy.total, energy.reason, energy.phases, energy.phase_reasons, energy.seconds,
        scopes=energy.scopes, evidence=energy.evidence, derivation=energy.derivation,
    )  # fmt: skip
    if gross:
        if idle_w is None:
            return line
        static = {phase: idle_w.joules * energy.seconds.get(phase, 0.0) for phase in energy.phases}
        return replace(line, static_j={"total": idle_w.joules * duration_s, **static})
    if energy.total is None:
        return line
    if idle_w is None:
        return missing(line, Reason.NO_IDLE_WINDOW)
    phases = {phase: figure.plus(idle_w, -energy.seconds.get(phase, 0.0)) for phase, figure in energy.phases.items()}
    return replace(line, total=energy.total.plus(idle_w, -duration_s), phases=phases)


def missing(line: Balance, reason: Reason) -> Balance:
    """The line with every figure NULL for one reason."""
    return replace(line, total=None, reason=reason, phases={}, phase_reasons=dict.fromkeys(PHASE_NAMES, reason))


def run_total(tree: Tree, lines: Mapping[str, Balance], duration_s: float) -> Balance | None:
    """The run's total: coarsest measured domains, less what in them the run does not use. None where no domain has a meter.

    Estimates enter only when nothing is measured. A domain that should enter and has no figure makes the total NULL.
    """
    chosen = [name for name in tree.coarsest() if tree.domains[name].allocated]
    if not tree.coarsest():
        chosen = [name for name in tree.coarsest(estimates=True) if tree.domains[name].allocated]
    if not chosen:
        return None
    less = [(inner, 1.0) for name in chosen for inner in tree.unallocated_within(name)]
    less += [(inner, 1 / tree.domains[inner].share - 1) for name in chosen for inner in _sliced_within(tree, name)]
    entered = [lines[name] for name in (*chosen, *(inner for inner, _ in less))]
    scopes = tuple(dict.fromkeys(scope for name in chosen for scope in lines[name].scopes))
    evidence = worst(line.evidence for line in entered if line.evidence is not None)
    empty = Balance(None, scopes=scopes, evidence=evidence, derivation=_derivation(entered))
    if any(line.total is None for line in entered):
        own = entered[0].reason if len(entered) == 1 else None
        return missing(empty, own or (Reason.NO_IDLE_WINDOW if _only(entered, Reason.NO_IDLE_WINDOW) else Reason.DOMAIN_MISSING))
    total = total_of([lines[name].total or Figure(0.0) for name in chosen])
    for inner, factor in less:
        total = total.plus(lines[inner].total or Figure(0.0), -factor)
    phases: dict[str, Figure] = {}
    reasons_of: dict[str, Reason] = {}
    contributors: dict[str, list[str]] = {}
    for phase in PHASE_NAMES:
        names = [inner for name in chosen for inner in _resolvers(tree, lines, name, phase)]
        if names:
            phases[phase] = total_of([lines[name].phases[phase] for name in names])
            contributors[phase] = names
        else:
            reasons_of[phase] = next(
                (lines[n].phase_reasons[phase] for n in chosen if phase in lines[n].phase_reasons), Reason.NOT_RESOLVABLE
            )
    static = _static(lines, chosen, contributors, less)
    return replace(
        empty,
        total=total,
        phases=phases,
        phase_reasons=reasons_of,
        contributors=contributors,
        static_j=static,
        seconds=_seconds(lines, chosen),
    )


def node_rest(tree: Tree, lines: Mapping[str, Balance], node: str) -> Balance | None:
    """A node minus all measured domains in it, used or not; None where nothing in it is measured."""
    inside = tree.coarsest(node)
    if not inside or not tree.measured(node):
        return None
    entered = [lines[node], *(lines[name] for name in inside)]
    evidence = worst(line.evidence for line in entered if line.evidence is not None)
    reasons = dict.fromkeys(PHASE_NAMES, Reason.NOT_RESOLVABLE)
    line = Balance(None, None, {}, reasons, {}, scopes=lines[node].scopes, evidence=evidence, derivation="metered")
    if any(entry.total is None for entry in entered):
        return missing(line, Reason.NO_IDLE_WINDOW if _only(entered, Reason.NO_IDLE_WINDOW) else Reason.DOMAIN_MISSING)
    rest = total_of([lines[node].total or Figure(0.0)])
    for name in inside:
        rest = rest.plus(lines[name].total or Figure(0.0), -1 / tree.domains[name].share)
    static: dict[str, float] = {}
    if all("total" in entry.static_j for entry in entered):
        inner = sum(lines[name].static_j["total"] / tree.domains[name].share for name in inside)
        static["total"] = lines[node].static_j["total"] - inner
    return replace(line, total=rest, static_j=static)


def _resolvers(tree: Tree, lines: Mapping[str, Balance], name: str, phase: str) -> list[str]:
    """The coarsest domains in a branch that resolve a phase and hold nothing that the run does not use."""
    if phase in lines[name].phases and not tree.unallocated_within(name) and not _sliced_within(tree, name):
        return [name]
    found: list[str] = []
    for inner in tree.coarsest(name):
        if tree.domains[inner].allocated:
            found += _resolvers(tree, lines, inner, phase)
    return found


def _sliced_within(tree: Tree, name: str) -> list[str]:
    return [d for d in tree.descendants(name) if tree.measured(d) and tree.domains[d].allocated and tree.domains[d].share < 1.0]


def _only(lines: list[Balance], reason: Reason) -> bool:
    return all(line.reason == reason for line in lines if line.total is None)


def _derivation(lines: list[Balance]) -> str:
    order = ("metered", "apportioned", "modelled")
    return order[max((order.index(line.derivation or "metered") for line in lines), default=0)]


def _static(
    lines: Mapping[str, Balance], chosen: list[str], contributors: dict[str, list[str]], less: list[tuple[str, float]]
) -> dict[str, float]:
    if not all("total" in lines[name].static_j for name in (*chosen, *(inner for inner, _ in less))):
        return {}
    total = sum(lines[name].static_j["total"] for name in chosen) - sum(f * lines[inner].static_j["total"] for inner, f in less)
    phases = {
        phase: sum(lines[name].static_j[phase] for name in names)
        for phase, names in contributors.items()
        if all(phase in lines[name].static_j for name in names)
    }
    return {"total": total, **phases}


def _seconds(lines: Mapping[str, Balance], chosen: list[str]) -> dict[str, float]:
    """Phase durations of the total where all its domains agree on them; else none, and mean powers stay NULL."""
    first = lines[chosen[0]].seconds
    return dict(first) if all(lines[name].seconds == first for name in chosen) else {}
