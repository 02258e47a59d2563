"""From a bundle, or a study's folder, to the rows of the database: one Arrow table for each table of the database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from tpb_core.api.channel import Channel
from tpb_core.store.bundle import Bundle
from tpb_core.store.database_tables import DATABASE_TABLES
from tpb_core.store.performance import performance_of
from tpb_core.store.schema import OUTPUT_TABLES
from tpb_core.store.scope_energy import scope_energy_of
from tpb_core.store.tables import read_table

Rows = dict[str, pa.Table]
_SIZES = ("batch_size", "concurrency", "rate_per_s", "rate", "max_concurrency", "users")
"""The parameter of a load shape that says how much it asks of the engine, whichever it has."""


def rows_of(bundle: Bundle) -> Rows:
    """The rows of one run in every table that describes runs."""
    run_id = bundle.run_id
    rows = {
        "runs": _typed("runs", [_run(bundle)]),
        "channels": _typed("channels", [_channel(run_id, channel) for channel in bundle.channels]),
        "performance": _typed("performance", [{"run_id": run_id, **row} for row in performance_of(bundle)]),
        "scope_energy": _typed("scope_energy", [{"run_id": run_id, **row} for row in scope_energy_of(bundle)]),
    }
    for table in ("requests", "windows", "events", *OUTPUT_TABLES):
        content = bundle.table(table)
        if content is not None:
            rows[table] = _led(table, "run_id", run_id, content)
    return rows


def study_rows_of(folder: Path) -> Rows:
    """The rows of a study's own outputs; the folder's name is the study's id."""
    rows = {}
    for table in OUTPUT_TABLES:
        content = read_table(folder, table)
        if content is not None:
            rows[f"study_{table}"] = _led(f"study_{table}", "study_id", folder.name, content)
    return rows


def _led(table: str, key: str, value: str, content: pa.Table) -> pa.Table:
    """The columns of a database table from one of a bundle, led by the run or study. Columns of other programs stay in the bundle."""
    schema = DATABASE_TABLES[table]
    first = pa.array([value] * content.num_rows, pa.string())
    return pa.table([first, *(content[name] for name in schema.names if name != key)], names=schema.names)


def _typed(table: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=DATABASE_TABLES[table])


def _run(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    study, engine, load = (_mapping(manifest.get(key)) for key in ("study", "engine", "load"))
    choices, clock = _mapping(manifest.get("choices")), _mapping(manifest.get("clock"))
    model = engine.get("model")
    named = model if isinstance(model, dict) else {"name": model}
    parameters = _mapping(load.get("parameters"))
    nodes = manifest.get("nodes") or [{}]
    valid, failed = _verdict(bundle)
    return {
        "run_id": bundle.run_id,
        **{key: _text(study.get(key)) for key in ("study_id", "point", "arm")},
        "repeat": _whole(study.get("repeat")),
        "run_order": _whole(study.get("order")),
        "status": manifest["status"],
        "status_reason": _text(manifest.get("status_reason")),
        "started_utc": _moment(manifest.get("started_utc")),
        "finished_utc": _moment(manifest.get("finished_utc")),
        "virtual": bool(clock.get("virtual")),
        "engine": _text(engine.get("name")),
        "engine_version": _text(engine.get("version")),
        "model": _text(named.get("name")),
        "model_revision": _text(named.get("revision")),
        "total_parameters": _whole(named.get("total_parameters")),
        "active_parameters": _whole(named.get("active_parameters")),
        "dtype": _text(engine.get("dtype")),
        "quantization": _text(engine.get("quantization")),
        "load": _text(load.get("shape")),
        "load_size": next((float(parameters[key]) for key in _SIZES if isinstance(parameters.get(key), (int, float))), None),
        "load_parameters": json.dumps(parameters, sort_keys=True),
        "prompts": _text(choices.get("prompts")),
        "meters": sorted({channel.meter for channel in bundle.channels if channel.meter is not None}),
        "hostname": _text(_mapping(nodes[0]).get("hostname")),
        "valid": valid,
        "failed_gates": failed,
        "bundle": str(bundle.path.resolve()),
        "manifest": json.dumps(manifest),
    }


def _verdict(bundle: Bundle) -> tuple[bool | None, list[str]]:
    """Valid is a complete run of which every gate passed; a gate without an answer fails; before attribution nobody knows."""
    table = bundle.table("validity")
    if table is None or not table.num_rows:
        return None, []
    rows = zip(table["check"].to_pylist(), table["gate"].to_pylist(), table["passed"].to_pylist(), strict=True)
    failed = sorted({check for check, gate, passed in rows if gate and passed is not True})
    return not failed and bundle.manifest["status"] == "complete", failed


def _channel(run_id: str, channel: Channel) -> dict[str, Any]:
    row = channel.to_json()
    named = {name: row.get(name) for name in DATABASE_TABLES["channels"].names}
    calibration = None if channel.calibration is None else json.dumps(channel.calibration)
    return {**named, "run_id": run_id, "calibration": calibration, "extensions": json.dumps(channel.extensions)}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _whole(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) else None


def _moment(value: Any) -> datetime | None:
    """A time in UTC without a zone, as the database keeps it; NULL where another program wrote something that is no time."""
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
