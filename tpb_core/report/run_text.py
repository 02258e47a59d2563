"""The sentences around a run's table: what was not measured and why, what makes it invalid, what to type next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tpb_core.report.rounding import span
from tpb_core.report.run_facts import RunFacts

NOT_MEASURED = "ENERGY NOT MEASURED: no power sensor is readable here"


def headline(facts: RunFacts) -> str:
    """Engine, model, load, and how the run ended, in one line."""
    engine, load = facts.manifest["engine"], facts.manifest["load"]
    model = " ".join(str((engine.get("model") or {}).get("name") or "model unknown").split())[:80]
    size = next((f"{key.replace('_', ' ')} {value}" for key, value in load["parameters"].items() if key in _SIZES), "")
    parts = [
        f"{engine['name']} {engine.get('version') or ''}".strip(),
        model,
        engine.get("quantization") or engine.get("dtype"),
        load["shape"],
    ]
    text = " · ".join(str(part) for part in [*parts, size] if part)
    return (
        text
        if facts.manifest["status"] == "complete"
        else f"{text} · {facts.manifest['status'].upper()}: {facts.manifest['status_reason']}"
    )


_SIZES = ("batch_size", "concurrency", "rate", "max_concurrency")


def without_sensor(facts: RunFacts) -> Iterator[str]:
    """The way out, and the estimate as a range."""
    yield "The way out:"
    silent = [missing for missing in facts.unavailable if missing["reason"] == "not_configured"]
    for missing in facts.unavailable:
        if missing not in silent:
            yield f"  {missing['meter']}: {missing['what']}"
            yield from (f"      {line}" for line in str(missing["fix"] or "").splitlines())
    if silent:
        yield f"  meters that must be told where to look: {', '.join(missing['meter'] for missing in silent)}"
    yield "  every meter and what it needs:  tpb doctor"
    total = facts.result()
    whole = facts.balance
    watts = _span_watts(facts.manifest["channels"])
    if total is None or whole is None or whole["ci_low_j"] is None or whole["evidence"] != "estimated" or whole["total_j"] is not None:
        return
    yield ""
    if total["ci_low"] is not None:
        yield f"Estimated, not measured: {span(total['ci_low'], total['ci_high'])} J per output token{watts}."
    else:
        yield f"Estimated, not measured: {span(whole['ci_low_j'], whole['ci_high_j'])} J{watts}."
    shares = [(phase, facts.phase(phase)) for phase in ("prefill", "decode")]
    ranges = [
        f"{phase} {span(row['ci_low_j'], row['ci_high_j'])} J" for phase, row in shares if row is not None and row["ci_low_j"] is not None
    ]
    if ranges:
        yield f"By time share (an estimate too): {', '.join(ranges)}."
    yield "Declare your machine's power model for a point value:  tpb meter.estimate.w_per_core=WATTS meter.estimate.idle_w=WATTS"


def _span_watts(channels: list[dict[str, Any]]) -> str:
    for channel in channels:
        low, high = channel.get("x_span_w_per_core_low"), channel.get("x_span_w_per_core_high")
        if low is not None and high is not None:
            return f", from {low:g} to {high:g} W per busy core"
    return ""


def remarks(facts: RunFacts) -> Iterator[str]:
    """What a reader must know before using the figures."""
    for row in facts.failed_gates() if facts.measured else ():
        where = " ".join(str(row[key]) for key in ("window", "domain") if row[key])
        value = "no answer" if row["value"] is None else f"{row['value']:.3g} {row['unit'] or ''}".strip()
        yield f"Not valid: {row['check']}{f' ({where})' if where else ''}: {value}, limit {row['limit']:g} {row['unit'] or ''}".rstrip()
    for event in facts.events_of("options_differ", "tokens_differ", "prefix_reused", "device_unused"):
        yield event["message"]
        if event["code"] == "device_unused":
            yield "  To use and measure it, for example:  tpb +engine=vllm +meter=nvml"
    if facts.measured:
        for missing in facts.unavailable:
            yield f"Not measured by {missing['meter']} ({missing['reason']}): {missing['what']}"


def ungraded(facts: RunFacts) -> str | None:
    """A quick look is no figure to publish, and says so."""
    if facts.observed or facts.manifest["choices"].get("experiment"):
        return None
    return "Ungraded: a quick look, one short run. Figures to publish:  tpb +experiment=publish"
