"""The tables of the database: names, columns, types. Everything in them is rebuilt from bundles by `tpb ingest`."""

from __future__ import annotations

import pyarrow as pa

from tpb_core.store.performance import PERCENTILES
from tpb_core.store.schema import BUDGET, ENERGY, EVENTS, REQUEST_ENERGY, REQUESTS, VALIDITY, WINDOWS

SCHEMA_VERSION = 2
"""Raised whenever a table or view changes. A database with a higher number is refused, one with a lower number is rebuilt."""

_STRING, _I64, _F64, _BOOL, _TIME, _STRINGS = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.timestamp("us"), pa.list_(pa.string())
_RUN = pa.field("run_id", _STRING)


def _of_run(schema: pa.Schema, without: tuple[str, ...] = ()) -> pa.Schema:
    return pa.schema([_RUN, *(field.with_nullable(True) for field in schema if field.name not in without)])


def _of_study(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field("study_id", _STRING), *(field.with_nullable(True) for field in schema)])


def _columns(kind: pa.DataType, *names: str) -> list[pa.Field]:
    return [pa.field(name, kind) for name in names]


_SPREADS = [
    pa.field(f"{name}_{of}_{unit}", _F64)
    for name, unit in (("latency", "s"), ("ttft", "ms"), ("tpot", "ms"), ("itl", "ms"))
    for of in ("mean", *(f"p{percentile}" for percentile in PERCENTILES))
]

DATABASE_TABLES: dict[str, pa.Schema] = {
    "runs": pa.schema(
        [
            _RUN,
            *_columns(_STRING, "study_id", "point", "arm"),
            *_columns(_I64, "repeat", "run_order"),
            *_columns(_STRING, "status", "status_reason"),
            *_columns(_TIME, "started_utc", "finished_utc"),
            *_columns(_BOOL, "virtual"),
            *_columns(_STRING, "engine", "engine_version", "model", "model_revision"),
            *_columns(_I64, "total_parameters", "active_parameters"),
            *_columns(_STRING, "dtype", "quantization", "load"),
            *_columns(_F64, "load_size"),
            *_columns(_STRING, "load_parameters", "prompts"),
            *_columns(_STRINGS, "meters"),
            *_columns(_STRING, "hostname"),
            *_columns(_BOOL, "valid"),
            *_columns(_STRINGS, "failed_gates"),
            *_columns(_STRING, "bundle", "manifest"),
        ]
    ),
    "channels": pa.schema(
        [
            _RUN,
            *_columns(_STRING, "channel", "meter", "node", "device", "sensor", "domain", "parent", "scope", "role"),
            *_columns(_BOOL, "allocated"),
            *_columns(_F64, "share"),
            *_columns(_STRING, "share_method", "kind", "unit"),
            *_columns(_F64, "resolution", "wrap", "max_power_w", "averaging_ms", "update_ms", "delay_ms"),
            *_columns(_F64, "averaging_u_ms", "update_u_ms", "delay_u_ms", "gain", "offset_w", "gain_u_rel", "offset_u_w"),
            *_columns(_STRING, "calibration", "common_group"),
            *_columns(_F64, "common_r"),
            *_columns(_STRING, "point", "evidence", "extensions"),
        ]
    ),
    "requests": _of_run(REQUESTS, without=("token_ns",)),
    "windows": _of_run(WINDOWS),
    "events": _of_run(EVENTS),
    "energy": _of_run(ENERGY, without=("point", "arm")),
    "request_energy": _of_run(REQUEST_ENERGY, without=("point", "arm")),
    "budget": _of_run(BUDGET, without=("point", "arm")),
    "validity": _of_run(VALIDITY, without=("point", "arm")),
    "performance": pa.schema(
        [
            _RUN,
            *_columns(_STRING, "window"),
            *_columns(_I64, "t0_ns", "t1_ns"),
            *_columns(_F64, "duration_s"),
            *_columns(_I64, "requests", "failed_requests", "output_tokens"),
            *_columns(_STRING, "output_tokens_reason"),
            *_columns(_I64, "input_tokens"),
            *_columns(_STRING, "input_tokens_reason"),
            *_columns(_F64, "mean_input_tokens", "mean_output_tokens", "cpu_s"),
            *_columns(_STRING, "cpu_s_reason"),
            *_columns(_F64, "client_cpu_s", "host_cpu_s"),
            *_columns(_STRING, "slo"),
            *_columns(_I64, "judged_requests", "good_requests"),
            *_columns(_BOOL, "slo_met"),
            *_columns(_STRING, "good_requests_reason"),
            *_SPREADS,
        ]
    ),
    "scope_energy": pa.schema(
        [
            _RUN,
            *_columns(_STRING, "window", "scope"),
            *_columns(_STRINGS, "domains"),
            *_columns(_F64, "joules", "u_without_calibration_j", "u_total_j", "dof", "ci_low_j", "ci_high_j"),
            *_columns(_F64, "ci_total_low_j", "ci_total_high_j"),
            *_columns(_STRING, "ci_kind"),
            *_columns(_F64, "mean_w", "peak_w", "peak_averaging_ms"),
            *_columns(_STRING, "evidence", "derivation", "method", "attributor_version", "reason"),
        ]
    ),
    "study_energy": _of_study(ENERGY),
    "study_request_energy": _of_study(REQUEST_ENERGY),
    "study_budget": _of_study(BUDGET),
    "study_validity": _of_study(VALIDITY),
}

TABLE_MEANINGS: dict[str, str] = {
    "runs": "a row a run: what was measured, when, how it ended; `manifest` is the whole manifest as JSON",
    "channels": "a row a channel of each run, as in the manifest, absent roles filled in",
    "requests": "requests.parquet of every run, without the stamps of single tokens",
    "windows": "windows.parquet of every run",
    "events": "events.parquet of every run",
    "energy": "energy.parquet of every run: all methods and bases",
    "request_energy": "request_energy.parquet of every run",
    "budget": "budget.parquet of every run: what the uncertainties are made of",
    "validity": "validity.parquet of every run: checks and gates",
    "performance": "a row a run x window: requests, tokens, latencies, CPU seconds, computed from requests and samples at ingestion",
    "scope_energy": "a row a run x window x scope: gross energy of its domains added, computed from energy and budget at ingestion",
    "study_energy": "energy.parquet of every study's folder, with point and arm",
    "study_request_energy": "request_energy.parquet of every study's folder",
    "study_budget": "budget.parquet of every study's folder",
    "study_validity": "validity.parquet of every study's folder",
}


def create_statement(table: str) -> str:
    """The DDL of a table."""
    columns = ", ".join(f'"{field.name}" {_sql_type(field.type)}' for field in DATABASE_TABLES[table])
    return f'CREATE TABLE "{table}" ({columns})'


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_sql_type(kind.value_type)}[]"
    names = {_STRING: "VARCHAR", pa.int32(): "INTEGER", _I64: "BIGINT", _F64: "DOUBLE", _BOOL: "BOOLEAN", _TIME: "TIMESTAMP"}
    return names[kind]
