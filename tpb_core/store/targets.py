"""Latency targets of requests, and whether a request kept to one. What `slo.*` and `tpb recommend --slo` mean is decided here alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

METRICS = {
    "ttft": "time to first token, from when the request was due",
    "tpot": "time per output token after the first, of a request",
    "e2e": "end-to-end latency, from when the request was due",
}


@dataclass(frozen=True)
class Target:
    """At least `percent` of the requests have the metric at or below `limit_s`."""

    metric: str
    percent: float
    limit_s: float

    @property
    def text(self) -> str:
        """As it would be typed."""
        limit = f"{self.limit_s * 1e3:g}ms" if self.limit_s < 10 else f"{self.limit_s:g}s"
        return f"{self.metric}_p{self.percent:g}={limit}"


@dataclass(frozen=True)
class Answered:
    """When a request was due (or submitted), answered and ended, in ns of the run clock; None where that is not known."""

    ok: bool
    begin_ns: int | None
    first_ns: int | None
    end_ns: int | None
    output_tokens: int | None


def keeps(answer: Answered, target: Target) -> bool | None:
    """Whether a request kept to a target; one that failed did not. None where it ended well and its stamps do not tell."""
    if not answer.ok:
        return False
    seconds: float | None = None
    if target.metric == "tpot":
        tokens = answer.output_tokens
        if tokens is not None and tokens < 2:
            return True  # there is no token after the first
        if answer.first_ns is not None and answer.end_ns is not None and tokens is not None:
            seconds = (answer.end_ns - answer.first_ns) / 1e9 / (tokens - 1)
    else:
        stamp_ns = answer.first_ns if target.metric == "ttft" else answer.end_ns
        if stamp_ns is not None and answer.begin_ns is not None:
            seconds = (stamp_ns - answer.begin_ns) / 1e9
    return None if seconds is None else seconds <= target.limit_s


def targets_of(manifest: Mapping[str, Any]) -> tuple[Target, ...]:
    """The targets that a run was given (`slo.*` of its configuration); none where it has none, or was not made by tpb."""
    config = manifest.get("config")
    slo = config.get("slo") if isinstance(config, Mapping) else None
    if not isinstance(slo, Mapping):
        return ()
    percent = slo.get("percentile")
    limits_ms = {metric: slo.get(f"{metric}_ms") for metric in METRICS}
    return tuple(
        Target(metric, float(percent), float(limit_ms) / 1e3)
        for metric, limit_ms in limits_ms.items()
        if isinstance(limit_ms, (int, float)) and isinstance(percent, (int, float))
    )
