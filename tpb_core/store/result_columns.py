"""The columns of the view `results`: name, unit, meaning and expression in one table, from which view and reference page are made."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.store.performance import PERCENTILES


@dataclass(frozen=True)
class ResultColumn:
    """A column of a view. `sql` is over the aliases r (runs), p (performance), e (scope_energy)."""

    name: str
    unit: str
    meaning: str
    sql: str


def _plain(table: str, unit: str, meaning: str, name: str) -> ResultColumn:
    return ResultColumn(name, unit, meaning, f"{table}.{name}")


def _per(name: str, what: str, count: str, ci_prefix: str) -> list[ResultColumn]:
    """A figure per something with its two intervals; a count of 0 gives NULL."""
    divisor = f"nullif({count}, 0)"
    figures = [
        ("", "joules", f"energy of the window over {what}"),
        ("ci_low", "ci_low_j", f"lower end of the 95 % interval of {name} within this rig (for `estimated`: of the span)"),
        ("ci_high", "ci_high_j", f"upper end of the 95 % interval of {name} within this rig (for `estimated`: of the span)"),
        ("ci_total_low", "ci_total_low_j", f"lower end of the 95 % interval of {name} with the calibration of the sensor"),
        ("ci_total_high", "ci_total_high_j", f"upper end of the 95 % interval of {name} with the calibration of the sensor"),
    ]
    return [
        ResultColumn(name if not suffix else f"{ci_prefix}{suffix}", "J", meaning, f"e.{source} / {divisor}")
        for suffix, source, meaning in figures
    ]


_TTFT = "time to first token, from when the request was due, or submitted where the load shape has no due times"
_SPREADS = (
    ("ttft", "ms", _TTFT),
    ("tpot", "ms", "time per output token after the first, mean of a request"),
    ("itl", "ms", "time between two output tokens of a request, over all tokens"),
    ("latency", "s", "end-to-end latency, from due (or submitted) to finished"),
)
_TOTAL_TOKENS = "(p.output_tokens + p.input_tokens)"

_HOST = "'package', 'core', 'dram', 'psys', 'soc', 'psu', 'outlet', 'node'"
"""Scopes whose energy the CPU time of a process has a share in."""

RESULT_COLUMNS: tuple[ResultColumn, ...] = (
    _plain("r", "", "id of the run, sorts by start", "run_id"),
    _plain("r", "", "study that the run belongs to", "study_id"),
    _plain("r", "", "hash of the point's configuration", "point"),
    _plain("r", "", "arm of an experiment", "arm"),
    _plain("r", "", "number of the repeat", "repeat"),
    _plain("r", "UTC", "start of the run", "started_utc"),
    _plain("r", "", "`complete`, `partial` or `failed`", "status"),
    _plain("r", "", "engine", "engine"),
    _plain("r", "", "version of the engine", "engine_version"),
    _plain("r", "", "model", "model"),
    _plain("r", "", "type of the weights as loaded", "dtype"),
    _plain("r", "", "quantization as loaded", "quantization"),
    _plain("r", "", "load shape", "load"),
    _plain("r", "", "batch size, concurrency or rate of the load shape", "load_size"),
    _plain("e", "", "`total`, or the scope of the domains in this row (`gpu`, `package`, `node`, ...)", "scope"),
    _plain("p", "", "window of the run", "window"),
    _plain("p", "s", "length of the window", "duration_s"),
    _plain("e", "", "domains that were added", "domains"),
    _plain("e", "J", "gross energy of the scope in the window", "joules"),
    *_per("j_per_output_token", "the output tokens emitted in it", "p.output_tokens", ""),
    *_per("j_per_input_token", "the input tokens of requests whose first token came out in it", "p.input_tokens", "j_per_input_token_"),
    *_per("j_per_total_token", "its input and output tokens", _TOTAL_TOKENS, "j_per_total_token_"),
    *_per("j_per_request", "the requests that ended well in it", "p.requests", "j_per_request_"),
    *_per("j_per_good_request", "its good requests", "p.good_requests", "j_per_good_request_"),
    ResultColumn("wh_per_1000_requests", "Wh", "energy of a thousand requests", "e.joules / nullif(p.requests, 0) * 1000 / 3600"),
    ResultColumn("mean_w", "W", "mean power in the window", "coalesce(e.mean_w, e.joules / nullif(p.duration_s, 0))"),
    _plain("e", "W", "highest power in the window; NULL for a sum of domains, whose peaks do not add", "peak_w"),
    _plain("e", "ms", "averaging time behind the peak", "peak_averaging_ms"),
    ResultColumn(
        "edp_js", "J s", "energy-delay product: J per request times mean latency", "e.joules / nullif(p.requests, 0) * p.latency_mean_s"
    ),
    *(
        _plain("p", unit, f"{'mean' if of == 'mean' else of[1:] + 'th percentile'} over ok requests: {meaning}", f"{name}_{of}_{unit}")
        for name, unit, meaning in _SPREADS
        for of in ("mean", *(f"p{percentile}" for percentile in PERCENTILES))
    ),
    ResultColumn("output_tokens_per_s", "1/s", "output throughput", "p.output_tokens / nullif(p.duration_s, 0)"),
    ResultColumn("requests_per_s", "1/s", "requests that ended well per second", "p.requests / nullif(p.duration_s, 0)"),
    _plain("p", "", "requests that ended well in the window", "requests"),
    _plain("p", "", "latency targets of the run (`slo.*`); NULL where it has none", "slo"),
    _plain(
        "p", "", "requests that the targets judge: all that ended in the window, well or not, and those that never ended", "judged_requests"
    ),
    _plain("p", "", "requests that ended well and kept to every target", "good_requests"),
    ResultColumn("good_requests_per_s", "1/s", "goodput", "p.good_requests / nullif(p.duration_s, 0)"),
    _plain("p", "", "whether of each target its percentile of the judged requests kept to it", "slo_met"),
    _plain("p", "", "why good_requests is NULL under targets", "good_requests_reason"),
    _plain("p", "", "requests that ended otherwise in the window; their energy is included", "failed_requests"),
    _plain("p", "tokens", "output tokens emitted in the window, those of failed requests included", "output_tokens"),
    _plain("p", "tokens", "input tokens of requests whose first token came out in the window", "input_tokens"),
    _plain("p", "tokens", "mean input of the requests that ended well", "mean_input_tokens"),
    _plain("p", "tokens", "mean output of the requests that ended well", "mean_output_tokens"),
    ResultColumn(
        "cpu_s_per_output_token", "s", "CPU seconds of the engine's processes per output token", "p.cpu_s / nullif(p.output_tokens, 0)"
    ),
    _plain(
        "p", "s", "CPU seconds of the load client in `measure`: the session, and the worker of an engine that is a server", "client_cpu_s"
    ),
    _plain("p", "s", "CPU seconds that the whole machine of the load client worked in `measure`", "host_cpu_s"),
    ResultColumn(
        "client_j",
        "J",
        "the load client's part of `joules`, apportioned by CPU time: client_cpu_s over host_cpu_s; for scopes of the host only",
        f"CASE WHEN e.scope IN ({_HOST}) THEN e.joules * p.client_cpu_s / p.host_cpu_s END",
    ),
    _plain("p", "", "why cpu_s_per_output_token is NULL", "cpu_s_reason"),
    _plain("e", "", "how the energy came about: the worst of what entered; `simulated` for every run in virtual time", "evidence"),
    _plain("e", "", "`metered`, `apportioned` or `modelled`", "derivation"),
    _plain("e", "", "what ci_low and ci_high are: `within_run`, `between_runs` or `span`", "ci_kind"),
    _plain("e", "", "attribution method", "method"),
    _plain("r", "", "every gate passed and the run is complete; NULL before attribution", "valid"),
    ResultColumn(
        "reason", "", "why j_per_output_token is NULL", "CASE WHEN e.joules IS NULL THEN e.reason ELSE p.output_tokens_reason END"
    ),
    _plain("r", "", "simulated time: never compare with real runs unasked", "virtual"),
    _plain("r", "", "folder of the run", "bundle"),
)
