"""Bundles that lack something: optional columns, members, or the end of a run that was cut off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tpb_core.api.errors import BadBundle
from tpb_core.store.bundle import Bundle

Make = Callable[..., Path]
Manifest = dict[str, Any]
Tables = dict[str, list[dict[str, Any]]]


def _row(table: str, row: int, **change: Any) -> Callable[[Manifest, Tables], None]:
    return lambda _, tables: tables[table][row].update(change)


def test_optional_columns_and_the_step_log_may_be_absent(make_bundle: Make) -> None:
    folder = make_bundle()
    (folder / "steps.parquet").unlink()
    (folder / "events.parquet").unlink()
    path = folder / "requests.parquet"
    pq.write_table(pq.read_table(path).select(["request", "request_id", "status"]), path)
    bundle = Bundle.open(folder)
    assert bundle.columns("steps") is None
    assert bundle.step_members() is None
    assert bundle.token_stamps() is None
    requests = bundle.columns("requests")
    assert requests is not None
    assert not requests["output_tokens"].valid.any()


def test_a_run_that_was_cut_off_may_lack_the_last_rows(make_bundle: Make) -> None:
    def cut(manifest: Manifest, tables: Tables) -> None:
        manifest["status"] = "partial"
        del tables["steps"][2]  # the last step was not flushed
        del tables["requests"][1]  # nor the request of some members

    assert Bundle.open(make_bundle(cut)).run_id

    def excess(manifest: Manifest, tables: Tables) -> None:
        manifest["status"] = "partial"
        tables["requests"][0].update(output_tokens=2, token_ns=None)

    with pytest.raises(BadBundle, match="emitted"):
        Bundle.open(make_bundle(excess, "other"))


def test_recomputed_and_cached_tokens_enter_the_sum_of_prefill(make_bundle: Make) -> None:
    def preempted(_: Manifest, tables: Tables) -> None:
        tables["requests"][0].update(input_tokens=3, preemptions=1)
        for step in tables["steps"]:
            step["recomputed_tokens"] = 1 if step["step"] == 0 else 0

    assert Bundle.open(make_bundle(preempted)).run_id
    assert Bundle.open(make_bundle(_row("requests", 0, input_tokens=9, cached_tokens=5), "cached")).run_id


def test_members_that_are_not_known_decide_nothing(make_bundle: Make) -> None:
    def unknown(_: Manifest, tables: Tables) -> None:
        tables["steps"][2]["members"] = None

    members = Bundle.open(make_bundle(unknown)).step_members()
    assert members is not None
    assert members.known.tolist() == [True, True, False]
    assert members.offsets.tolist() == [0, 2, 4, 4]
