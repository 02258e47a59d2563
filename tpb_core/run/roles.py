"""Which channel gives a domain's energy: exactly one primary (or parts) for each domain, over all meters of a run.

A meter does not know its neighbours. Where several meters deliver the same domain, the one that was named first keeps its primary and
the others become checks. Within one meter its own roles stand; where it gave none, an energy counter goes before power.
"""

from __future__ import annotations

from collections.abc import Sequence

from tpb_core.api.channel import EVIDENCE, LEDGER_KINDS, Channel

PRECEDENCE = "x_precedence"
"""Extension key by which meters that read one sensor in several ways say which way is best: the lowest number first."""
_USUAL = 50


def settle_roles(channels: Sequence[Channel], meters_in_order: Sequence[str]) -> None:
    """Set `role` of every ledger channel in place. Better evidence goes first, then precedence, the order of the meters, counters."""
    domains: dict[str, list[Channel]] = {}
    for channel in channels:
        if channel.kind in LEDGER_KINDS:
            domains.setdefault(channel.domain, []).append(channel)
    for claimants in domains.values():
        _settle(claimants, list(meters_in_order))


def _settle(claimants: list[Channel], order: list[str]) -> None:
    def rank(channel: Channel) -> tuple[bool, int, int, int, bool, bool]:
        return (
            channel.role == "check",
            EVIDENCE.index(channel.evidence),
            int(channel.extensions.get(PRECEDENCE, _USUAL)),
            order.index(channel.meter) if channel.meter in order else len(order),
            channel.role is None,
            channel.kind != "energy_counter",
        )

    first = min(claimants, key=rank)
    if first.role == "part":
        for channel in claimants:
            channel.role = "part" if channel.role == "part" and channel.meter == first.meter else "check"
        return
    for channel in claimants:
        channel.role = "primary" if channel is first else "check"
