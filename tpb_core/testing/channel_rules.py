"""The rules of the run bundle that a meter's list of channels has to keep, as one function that names every breach."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence

from tpb_core.api import EVIDENCE, KINDS, LEDGER_KINDS, ROLES, SCOPES, Channel

_UNIT_OF_KIND = {"energy_counter": "J", "power": "W", "time_counter": "s"}
_NOT_NEGATIVE = ("resolution", "wrap", "averaging_ms", "update_ms", "delay_ms", "averaging_u_ms", "update_u_ms", "delay_u_ms", "gain_u_rel")


def breaches(channels: Sequence[Channel]) -> list[str]:
    """Every rule that the channels break, in words; empty when they keep them all."""
    found = [f"channel name {name!r} occurs twice" for name in _repeated([channel.channel for channel in channels])]
    for channel in channels:
        found += [f"{channel.channel}: {breach}" for breach in _breaches_of_one(channel)]
    return found + _breaches_of_tree(channels) + _breaches_of_roles(channels)


def _breaches_of_one(channel: Channel) -> list[str]:
    found = []
    for name, value, permitted in (
        ("scope", channel.scope, SCOPES),
        ("kind", channel.kind, KINDS),
        ("evidence", channel.evidence, EVIDENCE),
        ("role", channel.role, (None, *ROLES)),
        ("point", channel.point, (None, "ac", "dc", "rail")),
    ):
        if value not in permitted:
            found.append(f"{name} {value!r} is none of {permitted}")
    unit = _UNIT_OF_KIND.get(channel.kind)
    if unit and channel.unit != unit:
        found.append(f"kind {channel.kind} has unit {channel.unit!r} instead of {unit!r}")
    if not channel.channel.startswith(f"{channel.node}/"):
        found.append(f"the name does not begin with its node {channel.node!r}")
    if channel.kind in LEDGER_KINDS and not channel.sensor:
        found.append("a channel of the ledger needs its sensor: what is common to two channels of one sensor is decided by it")
    for name in _NOT_NEGATIVE:
        value = getattr(channel, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            found.append(f"{name} is {value!r}")
    if channel.max_power_w is not None and not channel.max_power_w > 0:
        found.append(f"max_power_w is {channel.max_power_w!r}")
    if channel.gain_u_rel is not None and not (channel.calibration or {}).get("source"):
        found.append("a gain uncertainty needs its source in `calibration`")
    found += [f"extension {key!r} does not begin with x_" for key in channel.extensions if not key.startswith("x_")]
    try:
        same = Channel.from_json(json.loads(json.dumps(channel.to_json(), allow_nan=False))) == channel
    except (TypeError, ValueError, KeyError) as error:
        return [*found, f"cannot be written to the manifest: {error}"]
    return found if same else [*found, "does not come back unchanged from the manifest"]


def _breaches_of_tree(channels: Sequence[Channel]) -> list[str]:
    parents: dict[str, set[str | None]] = defaultdict(set)
    for channel in channels:
        parents[channel.domain].add(channel.parent)
    found = [f"domain {domain} has several parents" for domain, names in parents.items() if len(names) > 1]
    for domain in parents:
        chain = [domain]
        while (parent := next(iter(parents.get(chain[-1], {None})), None)) is not None:
            if parent in chain:
                found.append(f"domain {domain} lies inside itself: {' < '.join([*chain, parent])}")
                break
            chain.append(parent)
    return found


def _breaches_of_roles(channels: Sequence[Channel]) -> list[str]:
    roles: dict[str, list[str | None]] = defaultdict(list)
    for channel in channels:
        if channel.kind in LEDGER_KINDS:
            roles[channel.domain].append(channel.role)
    found = []
    for domain, present in roles.items():
        if present.count("primary") > 1:
            found.append(f"domain {domain} has {present.count('primary')} primary channels")
        if "primary" in present and "part" in present:
            found.append(f"domain {domain} has a primary channel and parts")
    added = [channel.channel for channel in channels if channel.scope == "psys" and channel.role != "check"]
    return found + [f"{name}: psys is an alternative total and can only be a check" for name in added]


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
