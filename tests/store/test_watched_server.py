"""A server that is only watched: tokens by its counters, and no word about requests that nobody saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tpb_core.store.results import results_of

Make = Callable[..., Path]
MS = 1_000_000


def _watched(manifest: dict[str, Any], tables: dict[str, Any]) -> None:
    """Ten output tokens a second, no requests of ours."""
    tables["requests"], tables["steps"] = [], []
    manifest["load"] = {"shape": "observed", "parameters": {}}
    base = {**manifest["channels"][0], "domain": "n0/server", "scope": "other", "kind": "counter", "unit": "tokens", "sensor": None}
    manifest["channels"].append({**base, "channel": "n0/server/output_tokens"})
    tables["samples"] += [
        {"channel": "n0/server/output_tokens", "t_ns": t_ms * MS, "half_width_ns": 0, "value": t_ms / 100} for t_ms in range(0, 3001, 500)
    ]


def test_requests_of_a_watched_server_are_null_and_not_zero(make_bundle: Make) -> None:
    row = next(row for row in results_of(make_bundle(_watched)) if row["window"] == "measure" and row["scope"] == "total")
    assert row["output_tokens"] == 3  # 310 ms, rounded
    assert (row["requests"], row["failed_requests"], row["requests_per_s"], row["j_per_request"]) == (None, None, None, None)
