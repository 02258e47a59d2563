"""One answer of trtllm-serve's `GET /energy_metrics`: `{"total_energy_j": float, "query_time": float}`, or 503 with the reason."""

from __future__ import annotations

import json
from typing import NamedTuple

PATH = "/energy_metrics"


class NoEnergy(ValueError):
    """There is no counter; says why. `lacking` where this server will not have one later either."""

    def __init__(self, message: str, *, lacking: bool) -> None:
        super().__init__(message)
        self.lacking = lacking


class EnergyAnswer(NamedTuple):
    """Joules of the server's GPUs since it started, and when it looked (its `time.perf_counter()`, ns; None where not told)."""

    joules: float
    query_ns: int | None


def read_answer(status: int, body: bytes) -> EnergyAnswer:
    """Raises NoEnergy."""
    if status == 404:
        raise NoEnergy(f"{PATH} answers HTTP 404: this release of TensorRT-LLM has no energy counter", lacking=True)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if status != 200:
        words = document.get("error") if isinstance(document, dict) else None
        raise NoEnergy(f"{PATH} answers HTTP {status}: {str(words or 'no word')[:200]}", lacking=status == 503)
    if not isinstance(document, dict):
        raise NoEnergy(f"{PATH} answers something that is no JSON object", lacking=False)
    joules = _number(document.get("total_energy_j"), 1e15)
    if joules is None:
        raise NoEnergy(f"{PATH} answers no energy: total_energy_j is {str(document.get('total_energy_j'))[:40]}", lacking=False)
    seconds = _number(document.get("query_time"), 1e9)
    return EnergyAnswer(joules, None if seconds is None else round(seconds * 1e9))


def _number(value: object, limit: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < limit:
        return None
    return float(value)
