"""The columns of every table of a run bundle, in the order of run-bundle.md. A column that may not be NULL is a required column.

Standard library and pyarrow only: the engine worker imports this in any engine's environment.
"""

from __future__ import annotations

import pyarrow as pa

_STRING, _I32, _I64, _F64, _BOOL = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.bool_()


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    """A schema from `(name, type)`; a star after the name marks a required column."""
    return pa.schema([pa.field(name.rstrip("*"), kind, nullable=not name.endswith("*")) for name, kind in columns])


MEMBER = pa.struct(
    [
        pa.field("request", _I32),
        pa.field("prefill_tokens", _I32),
        pa.field("decode_tokens", _I32),
        pa.field("emitted_tokens", _I32),
        pa.field("kv_tokens", _I32),
    ]
)

SAMPLES = _schema(
    ("channel*", _STRING),
    ("t_ns*", _I64),
    ("half_width_ns", _I64),
    ("source_ns", _I64),
    ("source_clock", _STRING),
    ("value*", _F64),
)
STEPS = _schema(
    ("step*", _I64),
    ("instance", _STRING),
    ("t0_ns*", _I64),
    ("t1_ns*", _I64),
    ("time_source", _STRING),
    ("prefill_tokens*", _I32),
    ("decode_tokens*", _I32),
    ("emitted_tokens", _I32),
    ("draft_tokens", _I32),
    ("accepted_tokens", _I32),
    ("recomputed_tokens", _I32),
    ("prefill_padding_tokens", _I32),
    ("decode_padding_tokens", _I32),
    ("kv_tokens", _I64),
    ("prefill_kv_tokens", _I64),
    ("members", pa.list_(MEMBER)),
)
REQUESTS = _schema(
    ("request*", _I32),
    ("request_id*", _STRING),
    ("prompt_id", _STRING),
    ("conversation_id", _STRING),
    ("turn", _I32),
    ("role", _STRING),
    ("due_ns", _I64),
    ("submitted_ns", _I64),
    ("engine_queued_ns", _I64),
    ("engine_started_ns", _I64),
    ("first_token_ns", _I64),
    ("finished_ns", _I64),
    ("input_tokens", _I32),
    ("cached_tokens", _I32),
    ("output_tokens", _I32),
    ("sequences", _I32),
    ("preemptions", _I32),
    ("status*", _STRING),
    ("finish_reason", _STRING),
    ("error", _STRING),
    ("token_ns", pa.list_(_I64)),
)
WINDOWS = _schema(("window*", _STRING), ("t0_ns*", _I64), ("t1_ns", _I64), ("note", _STRING))
EVENTS = _schema(
    ("t_ns", _I64),
    ("source", _STRING),
    ("node", _STRING),
    ("channel", _STRING),
    ("request", _I32),
    ("level", _STRING),
    ("code", _STRING),
    ("message", _STRING),
)
PROMPTS = _schema(
    ("prompt_id*", _STRING), ("source", _STRING), ("row", _I64), ("task", _STRING), ("text", _STRING), ("text_sha256", _STRING)
)
TEXTS = _schema(("request*", _I32), ("text", _STRING))
SCORES = _schema(("request*", _I32), ("scorer*", _STRING), ("score", _F64))
REPORTED = _schema(
    ("window*", _STRING),
    ("domain*", _STRING),
    ("phase*", _STRING),
    ("joules", _F64),
    ("scope", _STRING),
    ("u_without_calibration_j", _F64),
    ("u_total_j", _F64),
)

_METHOD = (("method*", _STRING), ("attributor_version", _STRING), ("parameters", _STRING))
_STUDY = (("point", _STRING), ("arm", _STRING))
"""Filled in the outputs of a whole study only."""

ENERGY = _schema(
    ("window*", _STRING),
    ("domain*", _STRING),
    ("phase*", _STRING),
    *_METHOD,
    ("basis*", _STRING),
    ("joules", _F64),
    ("of_which_static_j", _F64),
    ("u_without_calibration_j", _F64),
    ("u_total_j", _F64),
    ("dof", _F64),
    ("ci_low_j", _F64),
    ("ci_high_j", _F64),
    ("ci_total_low_j", _F64),
    ("ci_total_high_j", _F64),
    ("ci_kind", _STRING),
    ("mean_w", _F64),
    ("peak_w", _F64),
    ("peak_averaging_ms", _F64),
    ("scopes", pa.list_(_STRING)),
    ("evidence", _STRING),
    ("derivation", _STRING),
    ("reason", _STRING),
    *_STUDY,
)
REQUEST_ENERGY = _schema(
    ("request*", _I32),
    ("window*", _STRING),
    ("domain*", _STRING),
    *_METHOD,
    ("basis*", _STRING),
    ("prefill_j", _F64),
    ("decode_j", _F64),
    ("idle_j", _F64),
    ("total_j", _F64),
    ("prefill_u_j", _F64),
    ("decode_u_j", _F64),
    ("u_without_calibration_j", _F64),
    ("u_total_j", _F64),
    ("ci_low_j", _F64),
    ("ci_high_j", _F64),
    ("evidence", _STRING),
    ("reason", _STRING),
    *_STUDY,
)
BUDGET = _schema(
    ("window*", _STRING),
    ("domain*", _STRING),
    ("phase*", _STRING),
    *_METHOD,
    ("basis*", _STRING),
    ("term*", _STRING),
    ("source*", _STRING),
    ("du_j*", _F64),
    ("dof", _F64),
    ("calibration", _BOOL),
    *_STUDY,
)
VALIDITY = _schema(
    ("check*", _STRING),
    ("window", _STRING),
    ("domain", _STRING),
    ("method", _STRING),
    ("attributor_version", _STRING),
    ("parameters", _STRING),
    ("value", _F64),
    ("limit", _F64),
    ("unit", _STRING),
    ("passed", _BOOL),
    ("gate", _BOOL),
    ("reason", _STRING),
    *_STUDY,
)

SPOOL_TABLES = ("samples", "steps", "requests", "windows", "events", "prompts", "texts")
"""Tables that are written as streams while a run goes on."""
OUTPUT_TABLES = ("energy", "request_energy", "budget", "validity")
TABLES: dict[str, pa.Schema] = {
    "samples": SAMPLES,
    "steps": STEPS,
    "requests": REQUESTS,
    "windows": WINDOWS,
    "events": EVENTS,
    "prompts": PROMPTS,
    "texts": TEXTS,
    "scores": SCORES,
    "reported": REPORTED,
    "energy": ENERGY,
    "request_energy": REQUEST_ENERGY,
    "budget": BUDGET,
    "validity": VALIDITY,
}
REQUIRED_TABLES = ("samples", "requests", "windows")
"""Tables without which a folder is not a bundle. A run without steps has no step log; one without events had none."""


def lenient(table: str) -> pa.Schema:
    """The schema as it is written: a NULL where none belongs is kept and refused by the reader, with its row; no file is lost over it."""
    return pa.schema([field.with_nullable(True) for field in TABLES[table]])


def required_columns(table: str) -> list[str]:
    """The columns of `table` that every file must have and that are never NULL."""
    return [field.name for field in TABLES[table] if not field.nullable]
