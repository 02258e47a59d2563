"""Rows of iteration statistics as TensorRT-LLM gives them (`get_stats`, `GET /metrics`): read, checked, nothing computed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

_MOST = 1 << 31


class BadRow(ValueError):
    """A row that is not what the API describes; says what is wrong."""


@dataclass(frozen=True)
class RequestState:
    """A request in the statistics of one iteration: prompt tokens computed and tokens generated so far."""

    prefilled: int
    generated: int
    complete: bool


@dataclass(frozen=True)
class Iteration:
    """One iteration of one rank. `timestamp` is wall-clock text, empty in releases that leave it out."""

    number: int
    rank: int
    timestamp: str
    latency_ns: int
    scheduled_requests: int
    context_requests: int
    generation_requests: int
    context_tokens: int
    context_kv_tokens: int | None
    draft_tokens: int | None
    accepted_tokens: int | None
    dropped: int
    """Iterations whose statistics were thrown away, as far as the release counts them."""
    requests: dict[int, RequestState] = field(default_factory=dict)
    """By the executor's own request id; empty where per-request statistics are off."""


def read_rows(data: bytes) -> list[Any]:
    """The rows of an answer of `GET /metrics`. Raises BadRow."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRow("the iteration statistics are no JSON") from error
    if not isinstance(document, list):
        raise BadRow("the iteration statistics are no list")
    return document


def read_iteration(row: Any) -> Iteration:
    """One row. Raises BadRow."""
    if not isinstance(row, dict):
        raise BadRow("an iteration is no object")
    batch = row.get("inflightBatchingStats")
    if not isinstance(batch, dict):
        raise BadRow("an iteration has no inflightBatchingStats")
    latency_ms = row.get("iterLatencyMS")
    if isinstance(latency_ms, bool) or not isinstance(latency_ms, (int, float)) or not 0 <= latency_ms < 1e9:
        raise BadRow(f"iterLatencyMS is {latency_ms!r}")
    timestamp = row.get("timestamp", "")
    if not isinstance(timestamp, str):
        raise BadRow(f"timestamp is {timestamp!r}")
    drafts = row.get("specDecodingStats")
    drafts = drafts if isinstance(drafts, dict) else {}
    return Iteration(
        number=_count(row, "iter"),
        rank=_count(row, "attentionDpRank", 0),
        timestamp=timestamp,
        latency_ns=round(latency_ms * 1e6),
        scheduled_requests=_count(batch, "numScheduledRequests"),
        context_requests=_count(batch, "numContextRequests"),
        generation_requests=_count(batch, "numGenRequests"),
        context_tokens=_count(batch, "numCtxTokens"),
        context_kv_tokens=_count(batch, "numCtxKvTokens") if "numCtxKvTokens" in batch else None,
        draft_tokens=_count(drafts, "numDraftTokens") if drafts else None,
        accepted_tokens=_count(drafts, "numAcceptedTokens") if drafts else None,
        dropped=_count(row, "statsDroppedFrames", 0),
        requests=_requests(row.get("requestStats")),
    )


def _requests(rows: Any) -> dict[int, RequestState]:
    if rows is None:
        return {}
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadRow("requestStats is no list of objects")
    return {
        _count(row, "id", most=1 << 64): RequestState(
            _count(row, "contextPrefillPosition"), _count(row, "numGeneratedTokens"), row.get("stage") == "GENERATION_COMPLETE"
        )
        for row in rows
    }


def _count(row: dict[str, Any], key: str, otherwise: int | None = None, *, most: int = _MOST) -> int:
    value = row.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < most:
        raise BadRow(f"{key} is {str(value)[:40]!r}")
    return value
