"""The lines of a run's table: each figure with its interval, scope, evidence and method, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tpb_core.report.order_statistics import median_with_interval
from tpb_core.report.rounding import MISSING, significant, with_interval
from tpb_core.report.run_facts import Row, RunFacts


@dataclass(frozen=True)
class Figure:
    """One line. Texts are rounded to the interval; `value` is `—` beside a reason in `method`."""

    title: str
    value: str
    unit: str = ""
    interval: str = MISSING
    scope: str = ""
    evidence: str = ""
    method: str = ""


def performance_figures(facts: RunFacts) -> Iterator[Figure]:
    """Counts, latencies and throughput: what the clock and the engine's counts say."""
    total = facts.result()
    ok = [row for row in facts.requests if row["status"] == "ok"]
    failed = len(facts.requests) - len(ok)
    counted = "counted by the engine"
    yield Figure("requests", f"{len(ok)}" + (f" ok, {failed} not" if failed else ""), method="rows of requests")
    yield Figure("input tokens", _sum(ok, "input_tokens"), method=counted)
    yield Figure("output tokens", _sum(ok, "output_tokens"), method=counted)
    yield _latency("TTFT, median", [_since_due(row, "first_token_ns") for row in ok], "ms")
    yield _latency("TPOT, median", [_per_output_token(row) for row in ok], "ms")
    if total is None:
        return
    if total["output_tokens_per_s"] is not None:
        yield Figure("throughput", significant(total["output_tokens_per_s"], 3), "tokens/s", method="output tokens over the window")
    if total["slo"] is not None:
        yield from _goodput(total)
    cpu_s = total["cpu_s_per_output_token"]
    if cpu_s is not None:
        yield Figure("CPU time per output token", significant(cpu_s * 1e3, 3), "ms", scope="process", method="CPU clock of the engine")


def energy_figures(facts: RunFacts) -> Iterator[Figure]:
    """Power, J per token and request, phases; of the whole run and of each scope that was measured."""
    total = facts.result()
    if total is None:
        return
    yield _figure("mean power", "W", total, total["mean_w"], 3)
    peak = f"peak power, {significant(total['peak_averaging_ms'], 3)} ms mean" if total["peak_averaging_ms"] is not None else "peak power"
    if total["peak_w"] is not None:
        yield _figure(peak, "W", total, total["peak_w"], 3)
    if not facts.observed or total["output_tokens"]:
        yield _with_ci("J per output token", "J", total, "j_per_output_token", "ci_low", "ci_high")
        yield _with_ci("J per request", "J", total, "j_per_request", "j_per_request_ci_low", "j_per_request_ci_high")
    if total["good_requests"]:
        yield _with_ci("J per good request", "J", total, "j_per_good_request", "j_per_good_request_ci_low", "j_per_good_request_ci_high")
    whole = facts.balance or {"ci_low_j": None, "ci_high_j": None}
    yield _with_ci("energy", "J", {**total, "_low": whole["ci_low_j"], "_high": whole["ci_high_j"]}, "joules", "_low", "_high")
    if facts.observed:
        for part in facts.balances:
            if part["domain"] != "total" and part["method"].startswith("totals") and part["allocated"]:
                yield _with_ci(f"energy, {part['domain']}", "J", part, "total_j", "ci_low_j", "ci_high_j")
    for phase in ("prefill", "decode", "idle", "unattributed"):
        row = facts.phase(phase)
        if row is not None and not (phase in ("idle", "unattributed") and row["joules"] in (0, None)):
            yield _with_ci(f"energy, {phase}", "J", {**row, "scope": "total"}, "joules", "ci_low_j", "ci_high_j")
    for row in facts.results:
        if row["scope"] != "total" and len(facts.results) > 2:
            yield _with_ci(f"J per output token, {row['scope']}", "J", row, "j_per_output_token", "ci_low", "ci_high")
    for row in facts.results:
        if row["client_j"] is not None and row["evidence"] != "estimated":
            yield _client_share(row)


def _client_share(row: Row) -> Figure:
    method = f"apportioned by CPU time: {significant(row['client_cpu_s'], 3)} of {significant(row['host_cpu_s'], 3)} s; included above"
    return Figure(
        f"load client, {row['scope']}", significant(row["client_j"], 2), "J", MISSING, row["scope"], row["evidence"] or "", method
    )


def _goodput(total: Row) -> Iterator[Figure]:
    good, judged, targets = total["good_requests"], total["judged_requests"], total["slo"].replace(",", ", ")
    if good is None:
        yield Figure("good requests", MISSING, method=f"not judged: {total['good_requests_reason']}")
        return
    verdict = "met" if total["slo_met"] else "missed"
    yield Figure("good requests", f"{good} of {judged}", method=f"{verdict}: {targets}")
    yield Figure("goodput", significant(total["good_requests_per_s"], 3), "requests/s", method="good requests over the window")


def _figure(title: str, unit: str, row: Row, value: float | None, digits: int) -> Figure:
    if value is None:
        return _missing(title, row)
    return Figure(title, significant(value, digits), unit, MISSING, row["scope"], row["evidence"] or "", row["method"] or "")


def _with_ci(title: str, unit: str, row: Row, value: str, low: str, high: str) -> Figure:
    if row[value] is None:
        return _missing(title, row)
    if row["evidence"] == "estimated":  # how wrong a declared power model is, nobody knows
        return Figure(title, significant(row[value], 2), unit, "unknown", row["scope"], row["evidence"], row["method"] or "")
    shown, interval = with_interval(row[value], row[low], row[high])
    return Figure(title, shown, unit, interval, row["scope"], row["evidence"] or "", row["method"] or "")


def _missing(title: str, row: Row) -> Figure:
    return Figure(title, MISSING, scope=row["scope"] or "", method=f"not measured: {row['reason'] or 'unknown'}")


def _latency(title: str, values: list[float | None], unit: str) -> Figure:
    known = [value for value in values if value is not None]
    if not known:
        return Figure(title, MISSING, method="not measured: no_token_stamps" if values else "not measured: no_requests")
    shown, interval = with_interval(*median_with_interval(known))
    return Figure(title, shown, unit, interval, "", "", "order statistics of requests")


def _since_due(row: Row, stamp: str) -> float | None:
    """Milliseconds from when a request was due, or sent where the load has no due times."""
    begin_ns = row["due_ns"] if row["due_ns"] is not None else row["submitted_ns"]
    return None if row[stamp] is None or begin_ns is None else float((row[stamp] - begin_ns) / 1e6)


def _per_output_token(row: Row) -> float | None:
    if row["first_token_ns"] is None or row["finished_ns"] is None or not row["output_tokens"] or row["output_tokens"] < 2:
        return None
    return float((row["finished_ns"] - row["first_token_ns"]) / (row["output_tokens"] - 1) / 1e6)


def _sum(rows: list[Row], column: str) -> str:
    known = [row[column] for row in rows if row[column] is not None]
    return f"{sum(known):,}" if known else MISSING
