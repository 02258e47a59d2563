"""The tree of domains: which channel gives a domain's energy, which domains a sum may hold, what lies inside what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tpb_core.api import EVIDENCE, LEDGER_KINDS, Channel

ALTERNATIVE_SCOPES = ("psys",)
"""Scopes that are another total beside the tree, never a part of one."""


@dataclass(frozen=True)
class Domain:
    """One place in the tree. `givers`: the primary channel, or the parts whose sum it is; `checks` are only compared with it."""

    name: str
    parent: str | None
    scope: str | None
    givers: tuple[Channel, ...] = ()
    checks: tuple[Channel, ...] = ()
    spans: tuple[Channel, ...] = ()
    """Undeclared estimates: processor seconds with a stated span of watts."""

    @property
    def metered(self) -> bool:
        """Whether a channel gives this domain's energy."""
        return bool(self.givers)

    @property
    def estimated(self) -> bool:
        """Whether that channel is an estimate."""
        return any(channel.evidence == "estimated" for channel in self.givers)

    @property
    def allocated(self) -> bool:
        """Whether the run uses it."""
        return all(channel.allocated for channel in (*self.givers, *self.spans))

    @property
    def alternative(self) -> bool:
        """Whether it is another total beside the tree."""
        return self.scope in ALTERNATIVE_SCOPES

    @property
    def share(self) -> float:
        """The part of the domain that the run owns (a slice of a device), 1 where not stated."""
        shares = [channel.share for channel in self.givers if channel.share is not None]
        return min(shares) if shares else 1.0


@dataclass
class Tree:
    """All domains of a run by name, with their children in order of first mention."""

    domains: dict[str, Domain]
    children: dict[str, list[str]] = field(default_factory=dict)
    roots: list[str] = field(default_factory=list)

    def measured(self, name: str) -> bool:
        """Whether a domain enters sums: it has a channel that is no estimate, and is no alternative total."""
        domain = self.domains[name]
        return domain.metered and not domain.estimated and not domain.alternative

    def coarsest(self, below: str | None = None, *, estimates: bool = False) -> list[str]:
        """The coarsest domains of each branch that have a figure of their own, below a domain or in the whole tree.

        With `estimates` also those that are only estimated. Where a branch holds nothing but an alternative total, that one is taken.
        """
        found: list[str] = []
        for name in self.roots if below is None else self.children.get(below, []):
            domain = self.domains[name]
            if self.measured(name) or (estimates and domain.metered and not domain.alternative):
                found.append(name)
            else:
                found += self.coarsest(name, estimates=estimates)
        if not found and below is None:
            found = [name for name, domain in self.domains.items() if domain.alternative and domain.metered]
        return found

    def unallocated_within(self, name: str) -> list[str]:
        """The coarsest measured domains strictly below `name` that the run does not use."""
        found: list[str] = []
        for child in self.children.get(name, []):
            if self.measured(child) and not self.domains[child].allocated:
                found.append(child)
            else:
                found += self.unallocated_within(child)
        return found

    def descendants(self, name: str) -> Iterable[str]:
        """All domains below `name`."""
        for child in self.children.get(name, []):
            yield child
            yield from self.descendants(child)

    def node_of(self, name: str) -> str:
        """The root above a domain."""
        while (parent := self.domains[name].parent) is not None and parent in self.domains:
            name = parent
        return name


def tree_of(channels: Sequence[Channel]) -> Tree:
    """Build the tree. A domain named only as a parent exists without a channel; a parent that would close a circle is ignored."""
    names: dict[str, str | None] = {}
    scopes: dict[str, str | None] = {}
    by_domain: dict[str, list[Channel]] = {}
    for channel in channels:
        if channel.kind not in LEDGER_KINDS and not _is_span(channel):
            continue
        names.setdefault(channel.domain, channel.parent)
        if names[channel.domain] is None and channel.parent is not None:
            names[channel.domain] = channel.parent
        scopes.setdefault(channel.domain, channel.scope)
        by_domain.setdefault(channel.domain, []).append(channel)
    bare = [parent for parent in dict.fromkeys(names.values()) if parent is not None and parent not in names]
    names.update(dict.fromkeys(bare))
    names.update({parent: _parent_by_name(parent, names) for parent in bare})
    tree = Tree({})
    for name, parent in names.items():
        givers, checks, spans = _roles(by_domain.get(name, []))
        tree.domains[name] = Domain(name, _unless_circular(name, parent, names), scopes.get(name), givers, checks, spans)
    for name, domain in tree.domains.items():
        if domain.parent is None:
            tree.roots.append(name)
        else:
            tree.children.setdefault(domain.parent, []).append(name)
    return tree


def _roles(channels: list[Channel]) -> tuple[tuple[Channel, ...], tuple[Channel, ...], tuple[Channel, ...]]:
    """Who gives the energy: the primary, or the parts; with no role, a lone channel, and beside a counter power is a check."""
    spans = tuple(channel for channel in channels if _is_span(channel))
    ledger = [channel for channel in channels if channel.kind in LEDGER_KINDS]
    primary = [channel for channel in ledger if channel.role == "primary"]
    parts = [channel for channel in ledger if channel.role == "part"]
    plain = [channel for channel in ledger if channel.role is None]
    if primary:
        givers = primary[:1]
    elif parts:
        givers = parts
    else:
        givers = sorted(plain, key=lambda channel: (EVIDENCE.index(channel.evidence), channel.kind != "energy_counter"))[:1]
    checks = tuple(channel for channel in ledger if not any(channel is giver for giver in givers))
    return tuple(givers), checks, spans


def _is_span(channel: Channel) -> bool:
    return channel.kind == "time_counter" and channel.evidence == "estimated" and "x_span_w_per_core_low" in channel.extensions


def _parent_by_name(name: str, names: dict[str, str | None]) -> str | None:
    """The nearest domain above by name: `n0` of `n0/module0/grace` where nothing tells of `n0/module0`."""
    while name := name.rpartition("/")[0]:
        if name in names:
            return name
    return None


def _unless_circular(name: str, parent: str | None, names: dict[str, str | None]) -> str | None:
    seen, above = {name}, parent
    while above is not None:
        if above in seen:
            return None
        seen.add(above)
        above = names.get(above)
    return parent
