"""What else differed between two groups of runs: machine, sensors, versions, options, prompts, method. A ratio explains none of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tpb_core.api.errors import BadInput
from tpb_core.report.comparison.gauges import gauge_means
from tpb_core.report.comparison.records import RunRecord
from tpb_core.store.bundle import Bundle

_MOST_VALUES = 4
_LONGEST = 80
_ABSENT = "—"


@dataclass(frozen=True)
class Difference:
    """One fact that is not the same on both sides; several values of a side are joined."""

    what: str
    base: str
    other: str


def differences(base: Sequence[RunRecord], other: Sequence[RunRecord], window: str) -> list[Difference]:
    """Facts whose values on the two sides are not the same set, in the order in which a reader asks for them."""
    sides = [[_facts(record, window) for record in group] for group in (base, other)]
    names = dict.fromkeys(name for group in sides for facts in group for name in facts)
    found = []
    for name in names:
        values = [sorted({facts.get(name, _ABSENT) for facts in group}) for group in sides]
        if values[0] != values[1]:
            found.append(Difference(name, *(_joined(each) for each in values)))
    return found


def _joined(values: list[str]) -> str:
    shown = [value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…" for value in values[:_MOST_VALUES]]
    return ", ".join(shown) + (f" and {len(values) - _MOST_VALUES} more" if len(values) > _MOST_VALUES else "")


def _facts(record: RunRecord, window: str) -> dict[str, str]:
    return {name: _text(value) for name, value in (*_recorded(record, window), *_read(record, window)) if value is not None}


def _recorded(record: RunRecord, window: str) -> Iterator[tuple[str, Any]]:
    manifest, run = record.manifest, record.run
    engine, environment = _mapping(manifest.get("engine")), _mapping(manifest.get("environment"))
    yield "engine", run["engine"]
    yield "engine version", run["engine_version"]
    yield "model", run["model"]
    for name in ("model_revision", "dtype", "quantization"):
        yield name.replace("_", " "), run[name]
    yield from _flat("engine, effective", engine.get("effective") or engine.get("requested"), skip=("seed",))
    yield "load", run["load"]
    yield from _flat("load", _mapping(manifest.get("load")).get("parameters"))
    yield from _flat("sampling", _mapping(manifest.get("load")).get("sampling"))
    yield from _flat("prompts", _mapping(manifest.get("config")).get("prompts"))
    yield "seed", _mapping(manifest.get("load")).get("seed")
    yield "machine", record.run["hostname"] if record.machine == record.run["hostname"] else record.machine
    yield "sensors", sorted({str(row["sensor"] or row["channel"]) for row in record.givers(["total"])})
    yield "meters", run["meters"]
    yield from _devices(environment.get("devices"))
    for key in ("os", "cpu", "memory_bytes", "container", "python", "driver"):
        yield from _flat(key, environment.get(key))
    for total in [row for row in record.energy if row["domain"] == "total" and row["phase"] == "total" and row["joules"] is not None]:
        yield f"attributor {total['method'].partition('/')[0]}", total["attributor_version"]
    yield "methods", sorted({row["method"] for row in record.energy if row["joules"] is not None})
    yield "evidence", (record.scope_energy.get("total") or {}).get("evidence")
    yield (
        "scopes in total",
        sorted({s for r in record.energy if r["domain"] == "total" and r["phase"] == "total" for s in r["scopes"] or ()}),
    )
    yield "tpb", manifest.get("x_tpb_version")
    yield "plugins", sorted(f"{row.get('distribution')} {row.get('version')}" for row in _rows(manifest.get("plugins")))
    yield from _flat("package", environment.get("packages"))
    yield "valid", run["valid"]


def _devices(devices: Any) -> Iterator[tuple[str, Any]]:
    """Devices by their place, so that driver, limits and clocks of two machines line up."""
    for number, device in enumerate(_rows(devices)):
        yield from _flat(f"device {number}", device)


def _read(record: RunRecord, window: str) -> Iterator[tuple[str, Any]]:
    """What only the bundle holds: temperatures and clocks in the window, and the prompts themselves."""
    if record.bundle is None:
        return
    try:
        bundle = Bundle.open(record.bundle)
    except BadInput:
        return  # its figures are from the database; its folder was damaged since
    for channel, text in gauge_means(bundle, window).items():
        yield f"mean {channel}", text
    prompts = bundle.table("prompts")
    if prompts is not None and prompts.num_rows:
        rows = sorted((row["prompt_id"], row["text_sha256"] or row["text"] or "") for row in prompts.to_pylist())
        yield "prompt texts", hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]


def _flat(name: str, value: Any, skip: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in skip:
                yield from _flat(f"{name}: {key}" if ":" not in name else f"{name}.{key}", each)
    else:
        yield name, value


def _text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
