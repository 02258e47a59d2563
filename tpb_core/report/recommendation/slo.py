"""Latency targets as people write them: `ttft_p95=500ms,tpot_p95=50ms`."""

from __future__ import annotations

import difflib
import re

from tpb_core.api.errors import BadInput
from tpb_core.store.targets import METRICS, Target

_SYNONYMS = {"latency": "e2e"}
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_TARGET = re.compile(r"\s*([a-z0-9]+)_p(\d{1,2}(?:\.\d+)?)\s*=\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*\Z", re.IGNORECASE)
_EXAMPLE = "Write for example: --slo ttft_p95=500ms,tpot_p95=50ms"


def read_targets(text: str) -> tuple[Target, ...]:
    """Take the targets apart. Raises BadInput for what is no target, without a unit, or twice."""
    targets = [_target(part) for part in text.split(",") if part.strip()]
    if not targets:
        raise BadInput("no target was given.", _EXAMPLE)
    metrics = [target.metric for target in targets]
    if len(set(metrics)) < len(metrics):
        raise BadInput(f"{max(metrics, key=metrics.count)} has two targets.", "Give one percentile for each of: ttft, tpot, e2e.")
    return tuple(targets)


def _target(part: str) -> Target:
    match = _TARGET.match(part)
    if match is None:
        raise BadInput(f"{part.strip()!r} is no latency target.", _EXAMPLE)
    metric = _SYNONYMS.get(match[1].lower(), match[1].lower())
    if metric not in METRICS:
        near = difflib.get_close_matches(metric, METRICS, n=1)
        raise BadInput(f"{match[1]!r} is no latency.", f"Did you mean {near[0]}?" if near else f"Latencies: {', '.join(METRICS)}")
    percent, limit = float(match[2]), float(match[3])
    if match[4].lower() not in _UNITS:
        raise BadInput(f"{part.strip()!r} has {'an unknown' if match[4] else 'no'} unit.", f"Units: {', '.join(_UNITS)}. {_EXAMPLE}")
    if percent <= 0 or limit <= 0:
        raise BadInput(f"{part.strip()!r} can never be met or missed.", _EXAMPLE)
    return Target(metric, percent, limit * _UNITS[match[4].lower()])
