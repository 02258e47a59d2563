"""The views of the database: what people ask for, over the tables; and samples and steps over the Parquet files of the bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath

from tpb_core.store.level_view import EVIDENCE_LEVELS
from tpb_core.store.result_columns import RESULT_COLUMNS
from tpb_core.store.schema import MEMBER, TABLES

_RESULTS = (
    "SELECT "
    + ", ".join(f'{column.sql} AS "{column.name}"' for column in RESULT_COLUMNS)
    + " FROM scope_energy e JOIN runs r ON r.run_id = e.run_id"
    + ' JOIN performance p ON p.run_id = e.run_id AND p."window" = e."window"'
)

_MEANS = (
    "duration_s", "j_per_input_token", "j_per_total_token", "j_per_request", "j_per_good_request", "wh_per_1000_requests", "mean_w",
    "edp_js", "ttft_p50_ms", "ttft_p99_ms", "tpot_p50_ms", "tpot_p99_ms", "latency_p50_s", "latency_p99_s", "output_tokens_per_s",
    "requests_per_s", "good_requests_per_s", "mean_input_tokens", "mean_output_tokens", "cpu_s_per_output_token",
)  # fmt: skip
_SAME = ("engine", "engine_version", "model", "dtype", "quantization", "load", "load_size")
# Repeats with a figure enter; an invalid or unfinished run is counted and left out.
_USED = "status = 'complete' AND valid IS DISTINCT FROM false"
_STUDY_RESULTS = f"""
WITH grouped AS (
    SELECT study_id, point, arm, scope, "window",
        {", ".join(f"any_value({name}) AS {name}" for name in _SAME)},
        count(*) AS runs,
        count(*) FILTER ({_USED}) AS repeats,
        count(j_per_output_token) FILTER ({_USED}) AS n,
        avg(j_per_output_token) FILTER ({_USED}) AS j_per_output_token,
        stddev_samp(j_per_output_token) FILTER ({_USED}) AS sd_j_per_output_token,
        {", ".join(f"avg({name}) FILTER ({_USED}) AS {name}" for name in _MEANS)},
        CASE max(list_position(['measured', 'modelled', 'simulated', 'estimated', 'reported'], evidence)) FILTER ({_USED})
            WHEN 1 THEN 'measured' WHEN 2 THEN 'modelled' WHEN 3 THEN 'simulated' WHEN 4 THEN 'estimated' WHEN 5 THEN 'reported'
        END AS evidence,
        string_agg(DISTINCT method, '; ' ORDER BY method) FILTER ({_USED}) AS method,
        any_value(reason) FILTER (j_per_output_token IS NULL) AS why_missing,
        bool_or(virtual) AS virtual
    FROM results GROUP BY study_id, point, arm, scope, "window"
)
SELECT g.* EXCLUDE (n, why_missing), l.level,
    g.j_per_output_token - t.t975 * g.sd_j_per_output_token / sqrt(g.n) AS ci_low,
    g.j_per_output_token + t.t975 * g.sd_j_per_output_token / sqrt(g.n) AS ci_high,
    CASE WHEN t.t975 IS NOT NULL THEN 'between_runs' END AS ci_kind,
    CASE WHEN g.j_per_output_token IS NULL THEN coalesce(g.why_missing, 'status_partial') END AS reason
FROM grouped g LEFT JOIN student_t t ON t.dof = least(g.n - 1, (SELECT max(dof) FROM student_t))
LEFT JOIN evidence_levels l ON l.study_id IS NOT DISTINCT FROM g.study_id AND l.point IS NOT DISTINCT FROM g.point
    AND l.arm IS NOT DISTINCT FROM g.arm
"""

_DOMAINS = """
SELECT run_id, domain, first(parent ORDER BY role IS NULL, channel) AS parent, first(scope ORDER BY role IS NULL, channel) AS scope,
    bool_or(allocated) AS allocated
FROM channels GROUP BY run_id, domain
"""

_EVIDENCE = "CASE WHEN r.virtual AND g.evidence IS NOT NULL THEN 'simulated' ELSE g.evidence END AS evidence"
_LINE = """
FROM energy g JOIN runs r ON r.run_id = g.run_id
LEFT JOIN domains d ON d.run_id = g.run_id AND d.domain = g.domain
LEFT JOIN performance p ON p.run_id = g.run_id AND p."window" = g."window"
"""
_PHASES = f"""
SELECT g.run_id, r.study_id, r.point, r.engine, r.model, r.load, r.load_size, g."window", g.domain,
    CASE g.domain WHEN 'total' THEN 'total' ELSE d.scope END AS scope,
    coalesce(d.allocated, true) AS allocated, g.phase, g.method, g.joules, g.of_which_static_j, g.u_without_calibration_j, g.u_total_j,
    g.ci_low_j, g.ci_high_j, g.ci_total_low_j, g.ci_total_high_j, g.ci_kind,
    g.joules / nullif(t.joules, 0) AS share_of_total,
    CASE g.phase WHEN 'prefill' THEN p.input_tokens WHEN 'decode' THEN p.output_tokens END AS tokens,
    g.joules / nullif(CASE g.phase WHEN 'prefill' THEN p.input_tokens WHEN 'decode' THEN p.output_tokens END, 0) AS j_per_token,
    g.ci_low_j / nullif(CASE g.phase WHEN 'prefill' THEN p.input_tokens WHEN 'decode' THEN p.output_tokens END, 0) AS ci_low,
    g.ci_high_j / nullif(CASE g.phase WHEN 'prefill' THEN p.input_tokens WHEN 'decode' THEN p.output_tokens END, 0) AS ci_high,
    g.mean_w, g.peak_w, g.peak_averaging_ms, {_EVIDENCE}, g.derivation, r.valid, g.reason
{_LINE}
LEFT JOIN energy t ON t.run_id = g.run_id AND t."window" = g."window" AND t.domain = g.domain AND t.method = g.method
    AND t.basis = 'gross' AND t.phase = 'total'
WHERE g.basis = 'gross' AND g.phase <> 'total'
"""
_SUM_OF_PHASES = "coalesce(prefill_j, 0) + coalesce(decode_j, 0) + coalesce(idle_j, 0) + coalesce(unattributed_j, 0)"
_ENERGY_BALANCE = f"""
SELECT *, CASE WHEN unattributed_j IS NOT NULL THEN total_j - ({_SUM_OF_PHASES}) END AS misfit_j FROM (
    SELECT g.run_id, r.study_id, r.point, r.engine, r.model, g."window", g.domain, any_value(d.parent) AS parent,
        any_value(CASE WHEN g.domain = 'total' THEN 'total' WHEN g.domain LIKE '%/rest' THEN 'rest' ELSE d.scope END) AS scope,
        any_value(coalesce(d.allocated, true)) AS allocated, g.method,
        sum(g.joules) FILTER (g.phase = 'total') AS total_j,
        sum(g.joules) FILTER (g.phase = 'prefill') AS prefill_j,
        sum(g.joules) FILTER (g.phase = 'decode') AS decode_j,
        sum(g.joules) FILTER (g.phase = 'idle') AS idle_j,
        sum(g.joules) FILTER (g.phase = 'unattributed') AS unattributed_j,
        sum(g.ci_low_j) FILTER (g.phase = 'total') AS ci_low_j,
        sum(g.ci_high_j) FILTER (g.phase = 'total') AS ci_high_j,
        any_value(CASE WHEN r.virtual AND g.evidence IS NOT NULL THEN 'simulated' ELSE g.evidence END)
            FILTER (g.phase = 'total') AS evidence,
        any_value(g.reason) FILTER (g.phase = 'total') AS reason,
        any_value(r.valid) AS valid
    {_LINE}
    WHERE g.basis = 'gross'
    GROUP BY g.run_id, r.study_id, r.point, r.engine, r.model, g."window", g.domain, g.method
)
"""

VIEWS: dict[str, str] = {
    "domains": _DOMAINS,
    "results": _RESULTS,
    "evidence_levels": EVIDENCE_LEVELS,
    "study_results": _STUDY_RESULTS,
    "phases": _PHASES,
    "energy_balance": _ENERGY_BALANCE,
}
"""In the order in which they can be made."""

VIEW_MEANINGS: dict[str, str] = {
    "domains": "a row a run x domain of its channels: place in the tree, scope, whether the run used it",
    "results": "a row a run x scope x window; gross energy; ci_low and ci_high belong to j_per_output_token",
    "evidence_levels": "a row a point x arm of a study: its level of evidence, and in `lacks` what `next_level` needs, a sentence each",
    "study_results": "a row a point x arm x scope x window of a study: means over its valid repeats; ci_low and ci_high between runs (t)",
    "phases": "a row a run x window x domain x phase x method; gross; j_per_token of prefill is per input, of decode per output token",
    "energy_balance": "a row a run x window x domain x method, `<node>/rest` and `total` among them: phases beside the total; gross",
    "samples": "samples.parquet of every run, read from the bundles",
    "steps": "steps.parquet of every run, read from the bundles",
}


def parquet_view(table: str, files: Mapping[str, str]) -> str:
    """The query behind `samples` or `steps`: `files` is path -> run_id. The run is told from the path, so a filter on it opens one file."""
    if not files:
        columns = ", ".join(f'NULL::{_SQL_TYPES.get(str(field.type), _MEMBERS)} AS "{field.name}"' for field in TABLES[table])
        return f"SELECT NULL::VARCHAR AS run_id, {columns} WHERE false"
    folder = "regexp_extract(filename, '([^/]+)/[^/]+$', 1)"
    renamed = {PurePath(path).parent.name: run_id for path, run_id in files.items() if PurePath(path).parent.name != run_id}
    if renamed:
        cases = " ".join(f"WHEN {_quoted(path)} THEN {_quoted(files[path])}" for path in files if PurePath(path).parent.name in renamed)
        folder = f"CASE filename {cases} ELSE {folder} END"
    listed = _list(list(files))
    return f"SELECT {folder} AS run_id, * EXCLUDE (filename) FROM read_parquet({listed}, union_by_name = true, filename = true)"


_SQL_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "int32": "INTEGER", "double": "DOUBLE"}
_MEMBERS = "STRUCT(" + ", ".join(f"{field.name} INTEGER" for field in MEMBER) + ")[]"


def _list(texts: Sequence[str]) -> str:
    return "[" + ", ".join(_quoted(text) for text in texts) + "]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
