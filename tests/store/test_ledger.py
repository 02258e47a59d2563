"""Outputs of attribution: merged by method, and refused where figures do not add up."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api.codes import Reason
from tpb_core.api.errors import BadBundle
from tpb_core.api.ledger import BudgetRow, EnergyRow, Ledger, ValidityRow
from tpb_core.store.bundle import Bundle
from tpb_core.store.ledger import write_ledgers

Make = Callable[..., Path]


def _rows(method: str, **joules: float | None) -> list[EnergyRow]:
    return [
        EnergyRow("measure", "n0/gpu0", phase, method, "gross", joules=value, reason=Reason.MIXED_STEPS if value is None else None)
        for phase, value in joules.items()
    ]


def _ledger(method: str, requests: dict[str, Any] | None = None, **joules: float | None) -> Ledger:
    return Ledger(
        method=method,
        attributor_version="1",
        parameters={"a": 1},
        energy=_rows(method, **joules),
        request_energy=requests or {},
        budget=[BudgetRow("measure", "n0/gpu0", "total", method, "gross", "gain", "GPU-1", 0.5, calibration=True)],
        validity=[ValidityRow("bracketed", True, True, limit=math.inf)],
    )


def _requests(method: str, **columns: list[float]) -> dict[str, Any]:
    count = len(next(iter(columns.values())))
    same = {"window": "measure", "domain": "n0/gpu0", "method": method, "basis": "gross"}
    return {"request": list(range(-1, count - 1)), **{name: [value] * count for name, value in same.items()}, **columns}


def _read(folder: Path, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return rows


def test_a_method_is_replaced_and_others_are_kept(make_bundle: Make) -> None:
    folder = make_bundle()
    write_ledgers(
        folder, [_ledger("totals", total=30.0), _ledger("steps/token", total=30.0, prefill=10, decode=15, idle=5, unattributed=0)]
    )
    write_ledgers(folder, [_ledger("totals", total=31.0)])
    energy = {(row["method"], row["phase"]): row["joules"] for row in _read(folder, "energy")}
    assert energy[("totals", "total")] == 31.0
    assert energy[("steps/token", "decode")] == 15.0
    assert len(energy) == 6
    assert len(_read(folder, "budget")) == 2
    checks = _read(folder, "validity")
    assert {row["method"] for row in checks} == {"totals", "steps/token"}
    assert checks[0]["limit"] is None
    assert _read(folder, "energy")[0]["parameters"] == '{"a": 1}'
    assert Bundle.open(folder).columns("energy") is not None
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_study_folder_keeps_points_apart(tmp_path: Path) -> None:
    ledgers = [_ledger("differencing", total=1.0), _ledger("differencing", total=2.0)]
    ledgers[0].point, ledgers[1].point = "p1", "p2"
    write_ledgers(tmp_path / "studies" / "s", ledgers)
    assert {(row["point"], row["joules"]) for row in _read(tmp_path / "studies" / "s", "energy")} == {("p1", 1.0), ("p2", 2.0)}


_BROKEN = [
    (_ledger("m", total=30.0, prefill=10, decode=15, idle=5, unattributed=1e-6), "add up"),
    (_ledger("m", total=None, prefill=10, decode=None, idle=None, unattributed=None), "total is NULL"),
    (_ledger("m", prefill=10), "without a total"),
    (_ledger("m", total=30.0, prefill=None, decode=15, idle=5, unattributed=0), "add up"),
    (_ledger("m", total=math.inf), "finite"),
    (Ledger("m", "1", energy=_rows("other", total=1.0)), "another method"),
    (Ledger("m", "1", energy=[EnergyRow("w", "d", "total", "m", "gross")]), "without a reason"),
    (Ledger("m", "1", energy=[EnergyRow("w", "d", "total", "m", "netto", joules=1.0)]), "netto"),
    (Ledger("m", "1", energy=_rows("m", total=1.0) * 2), "twice"),
    (_ledger("m", _requests("m", prefill_j=[1.0, 9.1]), total=30.0, prefill=10, decode=15, idle=5, unattributed=0), "add up"),
    (_ledger("m", _requests("m", idle_j=[5.0, 0.0]), total=30.0, prefill=15, decode=15, idle=None, unattributed=0), "belong"),
    (_ledger("m", _requests("m", total_j=[30.0, 1.0]), total=30.0, prefill=10, decode=15, idle=4, unattributed=1), "add up"),
    (_ledger("m", _requests("other", total_j=[30.0, 0.0]), total=30.0), "another method"),
    (_ledger("m", {"request": [1], "window": ["a", "b"]}, total=30.0), "length"),
    (_ledger("m", {"request": [1], "watts": [1.0]}, total=30.0), "watts"),
]


@pytest.mark.parametrize(("ledger", "says"), _BROKEN)
def test_what_does_not_add_up_is_not_written(make_bundle: Make, ledger: Ledger, says: str) -> None:
    folder = make_bundle()
    write_ledgers(folder, [_ledger("totals", total=30.0)])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=says):
        write_ledgers(folder, [ledger])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_null_phase_has_its_energy_in_unattributed(make_bundle: Make) -> None:
    requests = _requests("m", decode_j=[5.0, 10.0], total_j=[9.0, 11.0])
    write_ledgers(make_bundle(), [_ledger("m", requests, total=30.0, prefill=None, decode=15, idle=5, unattributed=10)])


@given(st.lists(st.floats(-1e9, 1e9), min_size=4, max_size=4), st.floats(1e-7, 1.0))
def test_the_tolerance_is_relative_to_what_enters(parts: list[float], error: float) -> None:
    from tpb_core.store.invariants import check_invariants
    from tpb_core.store.ledger import _table

    magnitude = sum(map(abs, parts))
    phases = dict(zip(("prefill", "decode", "idle", "unattributed"), parts, strict=True))
    check_invariants(_table("energy", _ledger("m", total=math.fsum(parts), **phases)), None)
    if magnitude > 0:
        with pytest.raises(BadBundle, match="add up"):
            check_invariants(_table("energy", _ledger("m", total=math.fsum(parts) + 3 * error * magnitude, **phases)), None)


def test_outputs_that_do_not_add_up_are_refused_on_opening(make_bundle: Make) -> None:
    folder = make_bundle()
    write_ledgers(folder, [_ledger("m", total=30.0, prefill=10, decode=15, idle=5, unattributed=0)])
    table = pq.read_table(folder / "energy.parquet")
    joules = table["joules"].to_pylist()
    joules[1] += 1
    pq.write_table(table.set_column(table.schema.get_field_index("joules"), "joules", [joules]), folder / "energy.parquet")
    with pytest.raises(BadBundle, match="add up") as caught:
        Bundle.open(folder)
    assert (caught.value.file, caught.value.row) == ("energy.parquet", 0)
