"""The channels of a manifest: checked one by one, then as a tree of domains in which every domain knows what gives its energy."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tpb_core.api.channel import EVIDENCE, KINDS, LEDGER_KINDS, ROLES, SCOPES, Channel
from tpb_core.api.errors import BadBundle

_REQUIRED = ("channel", "domain", "scope", "kind", "unit", "evidence", "node", "allocated")
_PERMITTED = {"scope": SCOPES, "kind": KINDS, "role": ROLES, "evidence": EVIDENCE, "point": ("ac", "dc", "rail")}
_UNITS = {"energy_counter": "J", "power": "W", "time_counter": "s"}
_TEXTS = ("channel", "domain", "scope", "kind", "unit", "evidence", "parent", "node", "meter", "device", "sensor", "common_group")
_NUMBERS = (
    "share", "resolution", "wrap", "max_power_w", "averaging_ms", "update_ms", "delay_ms", "averaging_u_ms", "update_u_ms", "delay_u_ms",
    "gain", "offset_w", "gain_u_rel", "offset_u_w", "common_r",
)  # fmt: skip
_MAY_BE_NEGATIVE = ("offset_w", "common_r", "gain")


def channels_of(manifest: Mapping[str, Any], file: str) -> list[Channel]:
    """The channels with their roles filled in. Raises BadBundle with the key as column and the place in the list as row."""
    channels = [_channel(row, number, file) for number, row in enumerate(manifest["channels"])]
    names: set[str] = set()
    for number, channel in enumerate(channels):
        if channel.channel in names:
            raise BadBundle(f"the channel {channel.channel!r} is there twice", file=file, column="channels.channel", row=number)
        names.add(channel.channel)
    _check_tree(channels, _nodes(manifest, channels), file)
    return resolve_roles(channels, file)


def resolve_roles(channels: Sequence[Channel], file: str = "manifest.json") -> list[Channel]:
    """Fill in absent roles: a lone channel is primary; beside a counter, power is a check. Exactly one primary, or parts, per domain."""
    resolved = list(channels)
    domains: dict[str, list[int]] = {}
    for number, channel in enumerate(channels):
        if channel.kind in LEDGER_KINDS:
            domains.setdefault(channel.domain, []).append(number)
    for domain, numbers in domains.items():
        unnamed = [number for number in numbers if channels[number].role is None]
        decided = any(channels[number].role in ("primary", "part") for number in numbers)
        if unnamed and not decided:
            counters = [number for number in unnamed if channels[number].kind == "energy_counter"]
            leaders = counters or unnamed
            if len(leaders) > 1:
                names = ", ".join(channels[number].channel for number in leaders)
                raise BadBundle(
                    f"domain {domain!r} has several channels and none says which is primary: {names}",
                    file=file, column="channels.role", row=leaders[1],
                )  # fmt: skip
            resolved[leaders[0]] = dataclasses.replace(channels[leaders[0]], role="primary")
        for number in unnamed:
            if resolved[number].role is None:
                resolved[number] = dataclasses.replace(channels[number], role="check")
        _check_roles(domain, [resolved[number] for number in numbers], numbers, file)
    return resolved


def _check_roles(domain: str, channels: Sequence[Channel], rows: Sequence[int], file: str) -> None:
    by_role = {role: [row for row, channel in zip(rows, channels, strict=True) if channel.role == role] for role in ROLES}
    primaries, parts = by_role["primary"], by_role["part"]
    if len(primaries) > 1:
        raise BadBundle(f"domain {domain!r} has {len(primaries)} primary channels", file=file, column="channels.role", row=primaries[1])
    if primaries and parts:
        raise BadBundle(f"domain {domain!r} has a primary channel and parts", file=file, column="channels.role", row=parts[0])
    if not primaries and not parts:
        raise BadBundle(f"domain {domain!r} has neither a primary channel nor parts", file=file, column="channels.role", row=rows[0])


def _channel(row: dict[str, Any], number: int, file: str) -> Channel:
    for key in _REQUIRED:
        if row.get(key) is None:
            raise BadBundle("the required key is missing", file=file, column=f"channels.{key}", row=number)
    if "parent" not in row:
        raise BadBundle("the required key is missing (null for a root)", file=file, column="channels.parent", row=number)
    for key in _TEXTS:
        if row.get(key) is not None and not isinstance(row[key], str):
            raise BadBundle(f"{row[key]!r} is not a string", file=file, column=f"channels.{key}", row=number)
    for key, permitted in _PERMITTED.items():
        if row.get(key) is not None and row[key] not in permitted:
            raise BadBundle(f"{row[key]!r} is none of {', '.join(permitted)}", file=file, column=f"channels.{key}", row=number)
    for key in _NUMBERS:
        _check_number(row.get(key), key, number, file)
    if not isinstance(row["allocated"], bool):
        raise BadBundle(f"{row['allocated']!r} is neither true nor false", file=file, column="channels.allocated", row=number)
    unit = _UNITS.get(row["kind"])
    if unit is not None and row["unit"] != unit:
        raise BadBundle(f"a channel of kind {row['kind']} is in {unit}, not {row['unit']!r}", file=file, column="channels.unit", row=number)
    return Channel.from_json(row)


def _check_number(value: Any, key: str, number: int, file: str) -> None:
    if value is None:
        return
    column = f"channels.{key}"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadBundle(f"{value!r} is not a finite number", file=file, column=column, row=number)
    if key not in _MAY_BE_NEGATIVE and value < 0:
        raise BadBundle(f"{value!r} is negative", file=file, column=column, row=number)
    if key == "gain" and value <= 0:
        raise BadBundle(f"a gain of {value!r} makes no sense", file=file, column=column, row=number)
    if (key == "share" and not 0 < value <= 1) or (key == "common_r" and not -1 <= value <= 1):
        raise BadBundle(f"{value!r} is out of range", file=file, column=column, row=number)


def _nodes(manifest: Mapping[str, Any], channels: Sequence[Channel]) -> set[str]:
    listed = manifest.get("nodes") or []
    return {str(node.get("node")) for node in listed if isinstance(node, dict)} | {channel.node for channel in channels}


def _check_tree(channels: Sequence[Channel], nodes: set[str], file: str) -> None:
    """One parent a domain, no circle, and no parent that nobody knows."""
    parents: dict[str, str | None] = {}
    rows: dict[str, int] = {}
    for number, channel in enumerate(channels):
        known = parents.setdefault(channel.domain, channel.parent)
        rows.setdefault(channel.domain, number)
        if known != channel.parent:
            what = f"domain {channel.domain!r} lies under {known!r} in one channel and under {channel.parent!r} in another"
            raise BadBundle(what, file=file, column="channels.parent", row=number)
    for domain, parent in parents.items():
        # Places without a channel of their own (a node, a package between node and core) are known by their names only.
        if parent is not None and parent not in parents and parent not in nodes and not domain.startswith(f"{parent}/"):
            what = f"the parent {parent!r} of {domain!r} is no domain, no node and no part of the domain's name"
            raise BadBundle(what, file=file, column="channels.parent", row=rows[domain])
    for domain in parents:
        seen = [domain]
        above = parents[domain]
        while above is not None:
            if above in seen:
                raise BadBundle(
                    f"goes round in a circle: {' -> '.join([*seen, above])}", file=file, column="channels.parent", row=rows[domain]
                )
            seen.append(above)
            above = parents.get(above)
