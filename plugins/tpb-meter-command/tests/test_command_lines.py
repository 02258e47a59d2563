"""Whatever a program prints: cells or none, values or named problems; never an exception and never a wrong number."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api.described import parse_column
from tpb_meter_command.line import column_cells, json_cells, pattern_cells, values_of

WATTS = parse_column("wall", "1 W node", "test")
ENERGY = parse_column("plug", "2 kWh outlet", "test")


@given(st.text(max_size=200), st.sampled_from(["", ";", ","]), st.sampled_from([".", ","]))
def test_any_line_in_any_format(line: str, separator: str, decimal: str) -> None:
    for cells_of in (column_cells(separator), pattern_cells("(.*?) (.*)"), json_cells):
        cells = cells_of(line)
        if cells is not None:
            values, problems = values_of(cells, [WATTS, ENERGY], decimal)
            assert not set(values) & set(problems)
            assert all(abs(value) < float("inf") for value in values.values())


@given(st.floats(-1e12, 1e12, allow_nan=False), st.floats(0, 1e9))
def test_numbers_come_back_in_si_units(watts: float, kilowatt_hours: float) -> None:
    expected = {"wall": watts, "plug": pytest.approx(kilowatt_hours * 3.6e6)}
    for cells in (column_cells("")(f"{watts!r} {kilowatt_hours!r}"), json_cells(json.dumps({"1": watts, "2": kilowatt_hours}))):
        assert cells is not None
        assert values_of(cells, [WATTS, ENERGY], ".") == (expected, {})


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    )
)
def test_any_json(document: object) -> None:
    cells = json_cells(json.dumps(document))
    assert cells is None or all(isinstance(value, str) for value in cells.values())


def test_deep_json_and_booleans() -> None:
    assert json_cells("[" * 5000) is None
    assert json_cells('{"on": true, "apower": 12.5, "v": [230, null], "big": 1e999}') == {
        "apower": "12.5",
        "v.0": "230",
        "v.1": "",
        "big": "1e999",
    }


def test_negative_energy_and_missing_columns_are_named() -> None:
    assert values_of({"2": "-3"}, [WATTS, ENERGY], ".") == ({}, {"wall": "the output has no '1'", "plug": "'-3' is a negative energy"})
