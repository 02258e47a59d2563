"""Totals that an imported source reported without samples: attributed as `reported`, refused where they cannot be, never mixed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tpb_core.api.errors import BadBundle
from tpb_core.cli.main import main
from tpb_core.report.page.page import page_of
from tpb_core.store.bundle import Bundle
from tpb_core.store.database import ingest
from tpb_core.store.query import query
from tpb_core.store.results import results_of

Make = Callable[..., Path]
K95 = 1.959963984540054
DURATION_S, TOKENS = 0.31, 6  # of the small bundle's window `measure`


def imported(make_bundle: Make, rows: list[dict[str, Any]], name: str = "imported", *, sensors: bool = False) -> Path:
    """The small bundle as somebody else's program leaves it: requests and windows, and energies only as stated in `rows`."""

    def change(manifest: dict[str, Any], tables: dict[str, list[dict[str, Any]]]) -> None:
        manifest.update(run_id=name, step_log={"available": False, "members": False, "reason": "no_step_log"})
        manifest["engine"]["instances"] = []
        manifest["study"] = {"study_id": name, "point": name, "arm": None, "repeat": 0, "order": 0}
        tables.pop("steps")
        if not sensors:
            manifest["channels"], tables["samples"] = [], []

    folder = make_bundle(change, name)
    columns = dict.fromkeys(key for row in rows for key in row)
    pq.write_table(pa.table({column: [row.get(column) for row in rows] for column in columns}), folder / "reported.parquet")
    return folder


def row(domain: str, phase: str, joules: float | None, **more: Any) -> dict[str, Any]:
    return {"window": "measure", "domain": domain, "phase": phase, "joules": joules, **more}


def attributed(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """(domain, phase, method) -> row of energy.parquet; gross, window `measure`."""
    assert main(["attribute", str(folder), "--with", "totals"]) == 0
    rows = pq.read_table(folder / "energy.parquet").to_pylist()
    return {(r["domain"], r["phase"], r["method"]): r for r in rows if (r["window"], r["basis"]) == ("measure", "gross")}


def test_stated_totals_become_energies_of_evidence_reported(make_bundle: Make) -> None:
    folder = imported(make_bundle, [row("total", "total", 30.0), row("total", "prefill", 10.0)])
    rows = attributed(folder)
    total, prefill, decode, left = (rows["total", phase, "totals/reported"] for phase in ("total", "prefill", "decode", "unattributed"))
    assert (total["joules"], total["evidence"], total["mean_w"]) == (30.0, "reported", pytest.approx(30.0 / DURATION_S))
    assert prefill["joules"] == 10.0
    assert (decode["joules"], decode["reason"]) == (None, "not_reported")
    assert left["joules"] == 20.0
    assert (total["ci_low_j"], total["u_total_j"], total["reason"]) == (None, None, "no_calibration_data")
    (result,) = [r for r in results_of(folder) if (r["scope"], r["window"]) == ("total", "measure")]
    assert (result["evidence"], result["joules"], result["valid"]) == ("reported", 30.0, False)
    assert result["j_per_output_token"] == pytest.approx(30.0 / TOKENS)
    assert result["ci_low"] is None


def test_an_interval_is_there_where_the_source_states_an_uncertainty(make_bundle: Make) -> None:
    total = attributed(imported(make_bundle, [row("total", "total", 30.0, u_without_calibration_j=0.5, u_total_j=2.0)]))
    line = total["total", "total", "totals/reported"]
    assert (line["ci_low_j"], line["ci_high_j"]) == (pytest.approx(30 - K95 * 0.5), pytest.approx(30 + K95 * 0.5))
    assert line["ci_total_high_j"] == pytest.approx(30 + K95 * 2.0)
    assert line["reason"] is None


def test_domains_add_up_once_by_their_names_and_without_an_interval(make_bundle: Make) -> None:
    stated = [
        row("n0", "total", 50.0, scope="node", u_without_calibration_j=1.0), row("n0/gpu0", "total", 30.0, scope="gpu"),
        row("n1/gpu0", "total", 7.0, scope="gpu"),
    ]  # fmt: skip
    folder = imported(make_bundle, stated)
    rows = attributed(folder)
    assert rows["total", "total", "totals/reported"]["joules"] == 57.0
    assert rows["total", "total", "totals/reported"]["ci_low_j"] is None
    by_scope = {r["scope"]: r["joules"] for r in results_of(folder) if r["window"] == "measure"}
    assert by_scope == {"total": 57.0, "gpu": 37.0, "node": 50.0}


def test_what_was_measured_keeps_its_place_beside_what_was_reported(make_bundle: Make) -> None:
    folder = imported(make_bundle, [row("n0/gpu0", "total", 500.0), row("total", "total", 900.0)], sensors=True)
    rows = attributed(folder)
    assert rows["n0/gpu0", "total", "totals"]["joules"] == pytest.approx(31.0, rel=0.02)
    assert rows["n0/gpu0", "total", "totals/reported"]["joules"] == 500.0
    results = {r["scope"]: r for r in results_of(folder) if r["window"] == "measure"}
    assert results["gpu"]["joules"] == pytest.approx(31.0, rel=0.02)
    assert {results[scope]["evidence"] for scope in ("gpu", "total")} == {"measured"}


def test_a_measured_domain_without_a_figure_is_not_filled_with_what_was_reported(make_bundle: Make) -> None:
    folder = imported(make_bundle, [row("n0/gpu0", "total", 500.0)], sensors=True)
    samples = pq.read_table(folder / "samples.parquet")
    early = [t for t in range(samples.num_rows) if samples["channel"][t].as_py() != "n0/gpu0/energy" or samples["t_ns"][t].as_py() < 10**9]
    pq.write_table(samples.take(early), folder / "samples.parquet")
    attributed(folder)
    results = {r["scope"]: r for r in results_of(folder) if r["window"] == "measure"}
    assert results["gpu"]["joules"] is None
    assert results["gpu"]["reason"] == "not_bracketed"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("total", "prefill", 1.0)], "reported.parquet, column 'phase', row 0: prefill of total in measure without its total"),
        ([row("total", "total", 1.0), row("total", "total", 2.0)], "column 'phase', row 1: the total of total in measure is there twice"),
        ([row("total", "total", 1.0) | {"window": "nonesuch"}], "column 'window', row 0: 'nonesuch' is none of"),
        ([row("total", "total", 1.0), row("total", "unattributed", 2.0)], "column 'phase', row 1: 'unattributed' is none of"),
        ([row("total", "total", 1.0, u_total_j=-1.0)], "column 'u_total_j', row 0: an uncertainty below zero"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(make_bundle: Make, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(BadBundle) as refusal:
        Bundle.open(imported(make_bundle, rows))
    assert said in refusal.value.what


def test_comparisons_leave_reported_totals_out_unless_asked(make_bundle: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [imported(make_bundle, [row("total", "total", joules)], name) for name, joules in (("a", 30.0), ("b", 15.0))]
    for folder in folders:
        attributed(folder)
    ingest(folders, tmp_path / "tpb.duckdb")
    words = ["compare", "a", "b", "--database", str(tmp_path / "tpb.duckdb"), "--format", "json"]
    capsys.readouterr()
    assert main(words) == 3
    told = capsys.readouterr().err
    assert "reported by an imported source" in told
    assert "--with-invalid --with-reported" in told
    assert main([*words, "--with-invalid"]) == 3
    capsys.readouterr()
    assert main([*words, "--with-invalid", "--with-reported"]) == 0
    (line,) = [each for each in json.loads(capsys.readouterr().out) if each["figure"] == "J per output token"]
    assert line["ratio"] == pytest.approx(0.5)
    assert (line["ci_low"], line["reason"]) == (None, "no_uncertainty_stated")
    evidence = query(tmp_path / "tpb.duckdb", "select distinct evidence from phases where joules is not null").to_pylist()
    assert evidence == [{"evidence": "reported"}]


def test_the_page_says_that_figures_were_reported(make_bundle: Make) -> None:
    folder = imported(make_bundle, [row("total", "total", 30.0)])
    attributed(folder)
    page = page_of(folder)
    assert "evidence: reported" in page
    assert "ENERGY NOT MEASURED" not in page
