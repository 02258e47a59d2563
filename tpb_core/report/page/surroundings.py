"""The sections of what surrounded the run: options asked for and in force, machine, channels, plugins, cost of measuring, events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tpb_core.report.page.markup import Element, tag
from tpb_core.report.page.run_page import RunPage
from tpb_core.report.page.tables import Cell, folded, note, section, table
from tpb_core.report.rounding import significant

_MOST_EVENTS = 200
_SHOWN_OF_CHANNELS = (
    "channel", "meter", "sensor", "domain", "scope", "kind", "role", "allocated", "evidence", "averaging_ms", "update_ms", "delay_ms",
    "gain_u_rel", "offset_u_w", "point",
)  # fmt: skip


def options_section(page: RunPage) -> Element:
    """Options of the engine: what was asked for beside what it uses."""
    engine = _mapping(page.facts.manifest.get("engine"))
    requested, effective = (dict(_flat(engine.get(key))) for key in ("requested", "effective"))
    names = dict.fromkeys([*requested, *effective])
    differ = [
        n for n in names if n in requested and n in effective and requested[n] not in ("null", "auto") and requested[n] != effective[n]
    ]
    rows = [
        [tag("span", n, class_="mono"), requested.get(n), effective.get(n), tag("span", "differs", class_="bad") if n in differ else ""]
        for n in names
    ]
    rows.sort(key=lambda row: row[3] == "")
    said = (
        f"{len(differ)} of {len(names)} options are not what was asked for."
        if differ
        else f"None of {len(names)} options differs from what was asked for."
    )
    unknown = note("The engine did not say which options it uses.") if not effective else None
    described = [(key, value) for key, value in engine.items() if key not in ("requested", "effective")]
    return section(
        "options",
        "Options",
        tag("p", said) if effective else None,
        unknown,
        folded("Requested and effective options", table(("option", "requested", "effective", ""), rows), open_=bool(differ)),
        folded("Engine and model as loaded", _facts(dict(described))),
        folded("Load and sampling", _facts(_mapping(page.facts.manifest.get("load")))),
    )


def environment_section(page: RunPage) -> Element:
    """Machine, channels, plugins, configuration, our own cost, events."""
    manifest = page.facts.manifest
    channels = [[_shown(channel.to_json().get(key)) for key in _SHOWN_OF_CHANNELS] for channel in page.bundle.channels]
    events = page.facts.events
    rows = [
        [_seconds(page, row["t_ns"]), row["level"], tag("span", row["code"], class_="mono"), row["message"]]
        for row in events[:_MOST_EVENTS]
    ]
    listed = f"Events ({len(events)})" if len(events) <= _MOST_EVENTS else f"Events (the first {_MOST_EVENTS} of {len(events)})"
    return section(
        "environment",
        "Environment",
        folded("Machine", _facts(_mapping(manifest.get("environment"))), open_=True),
        folded(f"Channels ({len(channels)})", table(_SHOWN_OF_CHANNELS, channels)),
        folded("Plugins", _facts({"plugins": manifest.get("plugins") or []})),
        folded("What measuring cost", _facts(_mapping(manifest.get("overhead")))),
        folded("Configuration", _facts(_mapping(manifest.get("config")))),
        folded(listed, table(("s", "level", "code", "message"), rows, numbers=(0,))),
    )


def _facts(value: Mapping[str, Any]) -> Element:
    rows: list[list[Cell]] = [[tag("span", name, class_="mono"), text] for name, text in _flat(value)]
    return table(("", ""), rows) if rows else tag("p", "nothing recorded", class_="soft")


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for number, each in enumerate(value):
            yield from _flat(each, f"{prefix}[{number}]")
    elif value is not None or prefix:
        yield prefix, value if isinstance(value, str) else json.dumps(value)


def _shown(value: Any) -> str | None:
    return None if value is None else value if isinstance(value, str) else json.dumps(value)


def _seconds(page: RunPage, t_ns: int | None) -> str | None:
    return None if t_ns is None else significant((t_ns - page.origin_ns) / 1e9, 4)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
