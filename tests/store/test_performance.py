"""What requests did in a window, against figures worked out by hand and by brute force."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpb_core.api.attributor import Window
from tpb_core.store.bundle import Bundle
from tpb_core.store.performance import performance_of
from tpb_core.store.stretch import request_times, stretch_of

MS = 1_000_000
Make = Callable[..., Path]
Tables = dict[str, list[dict[str, Any]]]


def _measure(folder: Path) -> dict[str, Any]:
    return next(row for row in performance_of(Bundle.open(folder)) if row["window"] == "measure")


def test_two_requests_by_hand(make_bundle: Make) -> None:
    row = _measure(make_bundle())
    assert (row["requests"], row["failed_requests"], row["output_tokens"], row["input_tokens"]) == (2, 0, 6, 10)
    assert row["ttft_p50_ms"] == pytest.approx(1100 - 990)  # due at 990 ms, first token at 1100 ms
    assert row["tpot_mean_ms"] == pytest.approx(100.0)
    assert row["itl_p99_ms"] == pytest.approx(100.0)
    assert row["latency_p50_s"] == pytest.approx(0.31)
    assert row["cpu_s"] == pytest.approx(0.31 * 0.5)
    assert (row["mean_input_tokens"], row["mean_output_tokens"]) == (5.0, 3.0)


def test_ttft_counts_from_submission_where_nothing_was_due(make_bundle: Make) -> None:
    def closed(_: Any, tables: Tables) -> None:
        for request in tables["requests"]:
            request["due_ns"] = None

    assert _measure(make_bundle(closed))["ttft_p50_ms"] == pytest.approx(1100 - 995)


def test_failed_requests_give_tokens_but_no_latencies(make_bundle: Make) -> None:
    def failed(_: Any, tables: Tables) -> None:
        tables["requests"][1].update(status="timeout", finish_reason=None, token_ns=[1100 * MS, 1200 * MS], output_tokens=None)
        tables["requests"].append({**tables["requests"][0], "request": 2, "request_id": "r2", "status": "rejected", "output_tokens": None,
                                   "token_ns": None, "first_token_ns": None})  # fmt: skip

    row = _measure(make_bundle(failed))
    assert (row["requests"], row["failed_requests"], row["output_tokens"]) == (1, 2, 5)
    assert row["mean_input_tokens"] == 4.0


def test_good_requests_by_hand(make_bundle: Make) -> None:
    """Request 0 and 1: TTFT 110 ms, TPOT 100 ms, whole latency 310 ms each; a third one that was due in the window never ended."""

    def with_targets(**slo: float) -> Callable[[Any, Tables], None]:
        def change(manifest: Any, tables: Tables) -> None:
            manifest["config"] = {"slo": {"ttft_ms": None, "tpot_ms": None, "e2e_ms": None, "percentile": 60.0, **slo}}
            lost = {**tables["requests"][0], "request": 2, "request_id": "r2", "status": "error", "finished_ns": None,
                    "first_token_ns": None, "output_tokens": None, "token_ns": None, "due_ns": 1050 * MS}  # fmt: skip
            tables["requests"].append(lost)

        return change

    row = _measure(make_bundle(with_targets(ttft_ms=110.0, tpot_ms=100.0), "kept"))
    assert (row["slo"], row["judged_requests"], row["good_requests"], row["slo_met"]) == ("ttft_p60=110ms,tpot_p60=100ms", 3, 2, True)
    row = _measure(make_bundle(with_targets(ttft_ms=110.0, e2e_ms=300.0), "late"))
    assert (row["judged_requests"], row["good_requests"], row["slo_met"]) == (3, 0, False)
    row = _measure(make_bundle(with_targets(ttft_ms=110.0, percentile=95.0), "strict"))
    assert (row["good_requests"], row["slo_met"]) == (2, False), "2 of 3 are less than 95 %"
    row = _measure(make_bundle(None, "without"))
    assert (row["slo"], row["judged_requests"], row["good_requests"], row["slo_met"]) == (None, None, None, None)


def test_goodput_without_stamps_is_null_with_a_reason(make_bundle: Make) -> None:
    def blind(manifest: Any, tables: Tables) -> None:
        manifest["config"] = {"slo": {"ttft_ms": 200.0, "percentile": 95.0}}
        for request in tables["requests"]:
            request.update(token_ns=None, first_token_ns=None)

    row = _measure(make_bundle(blind))
    assert (row["good_requests"], row["good_requests_reason"]) == (None, "no_token_stamps")


def test_without_stamps_a_whole_request_counts_and_a_straddling_one_is_null(make_bundle: Make) -> None:
    def blind(_: Any, tables: Tables) -> None:
        for request in tables["requests"]:
            request.update(token_ns=None, first_token_ns=None)

    row = _measure(make_bundle(blind))
    assert (row["output_tokens"], row["input_tokens"], row["ttft_p50_ms"], row["tpot_p50_ms"]) == (6, 10, None, None)

    def straddling(manifest: Any, tables: Tables) -> None:
        blind(manifest, tables)
        tables["windows"][1]["t1_ns"] = 1250 * MS

    row = _measure(make_bundle(straddling, "other"))
    assert (row["output_tokens"], row["output_tokens_reason"]) == (None, "tokens_not_resolved")
    assert (row["input_tokens"], row["input_tokens_reason"]) == (None, "tokens_not_resolved")
    load = next(row for row in performance_of(Bundle.open(make_bundle(blind, "third"))) if row["window"] == "load")
    assert (load["output_tokens"], load["output_tokens_reason"]) == (0, "no_tokens")


def test_cpu_seconds_are_null_with_a_reason(make_bundle: Make) -> None:
    assert _measure(make_bundle(lambda manifest, tables: tables.update(samples=tables["samples"][:20])))["cpu_s_reason"] == "not_bracketed"

    def none(manifest: Any, tables: Tables) -> None:
        tables["samples"] = [row for row in tables["samples"] if row["channel"] != "n0/engine/cpu_s"]

    assert _measure(make_bundle(none, "b"))["cpu_s_reason"] == "no_reading"

    def neither(manifest: Any, tables: Tables) -> None:
        none(manifest, tables)
        del manifest["channels"][3]

    assert _measure(make_bundle(neither, "c"))["cpu_s_reason"] == "no_sensor"


def test_a_watched_server_counts_its_own_tokens(make_bundle: Make) -> None:
    def watched(manifest: Any, tables: Tables) -> None:
        counter = {**manifest["channels"][3], "kind": "counter", "unit": "tokens", "scope": "other"}
        manifest["channels"] = [
            {**counter, "channel": f"server/{name}_tokens_total", "domain": f"n0/{name}"} for name in ("generation", "prompt")
        ]
        tables.update(requests=[], steps=[], samples=[
            {"channel": f"server/{name}_tokens_total", "t_ns": second * 1000 * MS, "value": 100.0 + second * rate}
            for second in range(3) for name, rate in (("generation", 50.0), ("prompt", 200.0))
        ])  # fmt: skip

    row = _measure(make_bundle(watched))
    assert (row["output_tokens"], row["input_tokens"]) == (round(0.31 * 50), round(0.31 * 200))

    def restarted(manifest: Any, tables: Tables) -> None:
        watched(manifest, tables)
        tables["samples"][-2]["value"] = 0.0

    row = _measure(make_bundle(restarted, "other"))
    assert (row["output_tokens"], row["output_tokens_reason"], row["input_tokens"]) == (None, "tokens_not_resolved", 62)


_REQUEST = st.tuples(st.integers(0, 50), st.lists(st.integers(0, 20), min_size=0, max_size=6), st.integers(0, 9))


@settings(max_examples=60, deadline=None)
@given(st.lists(_REQUEST, min_size=1, max_size=6), st.lists(st.integers(1, 200), min_size=1, max_size=5, unique=True))
def test_slices_share_nothing_and_lose_nothing(
    tmp_path_factory: pytest.TempPathFactory, request_fixture: Any, requests: list[Any], edges: list[int]
) -> None:
    manifest, rows = request_fixture
    made = []
    for number, (begin, gaps, after) in enumerate(requests):
        stamps, now = [], begin
        for gap in gaps:
            now += gap + 1
            stamps.append(now)
        made.append({
            "request": number, "request_id": str(number), "submitted_ns": begin, "first_token_ns": stamps[0] if stamps else None,
            "finished_ns": now + after, "input_tokens": 3, "cached_tokens": 0, "output_tokens": len(stamps), "preemptions": None,
            "status": "ok" if stamps else "error", "token_ns": stamps,
        })  # fmt: skip
    content = {"samples": [], "windows": [], "requests": made}
    folder = rows(tmp_path_factory.mktemp("run"), {**copy.deepcopy(manifest), "channels": []}, content)
    times = request_times(Bundle.open(folder))
    bounds = [0, *sorted(edges), 10_000]
    slices = [stretch_of(times, Window("w", low, high)) for low, high in pairwise(bounds)]
    for part, low, high in [(part, *edge) for part, edge in zip(slices, pairwise(bounds), strict=True)]:
        assert part.output_tokens == sum(low < stamp <= high for request in made for stamp in request["token_ns"])
        assert len(part.ended) == sum(request["status"] == "ok" and low < request["finished_ns"] <= high for request in made)
        assert part.failed == sum(request["status"] != "ok" and low < request["finished_ns"] <= high for request in made)
    assert sum(part.output_tokens or 0 for part in slices) == sum(len(request["token_ns"]) for request in made)
    assert sum(part.input_tokens or 0 for part in slices) == 3 * sum(bool(request["token_ns"]) for request in made)


@pytest.fixture(scope="session")
def request_fixture(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    conftest = next(plugin for plugin in request.config.pluginmanager.get_plugins() if hasattr(plugin, "write_bundle"))
    return conftest.MANIFEST, conftest.write_bundle
