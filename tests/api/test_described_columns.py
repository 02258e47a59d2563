"""Columns and places in the user's words, and the values of cells."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import BadInput
from tpb_core.api.described import Place, channel_of, parse_column, parse_place, parse_value


def test_places() -> None:
    assert parse_place("node", "x") == Place("node")
    assert parse_place("node:part", "x") == Place("node", "part")
    assert parse_place("gpu:check@module0/gpu1", "x") == Place("gpu", "check", "module0/gpu1")


@given(st.text(max_size=30))
def test_any_text_is_a_place_or_bad_input(text: str) -> None:
    scope = text.strip().partition(":")[0].partition("@")[0]
    with contextlib.suppress(BadInput):
        assert parse_place(text, "meter.x.scopes").scope == scope


def test_a_source_may_hold_blanks() -> None:
    column = parse_column("wall", "Active Power (W) W node", "x")
    assert (column.source, column.unit, column.place.scope) == ("Active Power (W)", "W", "node")


def test_a_nested_domain_knows_its_parent() -> None:
    channel = channel_of(parse_column("feed", "2 kWh outlet@pdu/3", "x"), node="n1", meter="csv", device="log")
    assert (channel.channel, channel.domain, channel.parent, channel.sensor) == ("n1/pdu/3/csv_feed", "n1/pdu/3", "n1/pdu", "log/feed")


@pytest.mark.parametrize(("cell", "unit", "decimal", "expected"), [
    ("12.5", "W", ".", 12.5), (" 12,5 ", "W", ",", 12.5), ("12.5 W", "W", ".", 12.5), ("12.5W", "W", ".", 12.5), ('"7"', "W", ".", 7.0),
    ("-3", "W", ".", -3.0), ("+1e3", "mW", ".", 1.0), (".5", "kW", ".", 500.0), ("2", "kWh", ".", 7.2e6), ("1", "Wh", ".", 3600.0),
    ("N/A", "W", ".", None), ("", "W", ".", None), ("unavailable", "W", ".", None), ("NaN", "W", ".", None),
])  # fmt: skip
def test_cells(cell: str, unit: str, decimal: str, expected: float | None) -> None:
    value = parse_value(cell, parse_column("c", f"1 {unit} node", "x"), decimal)
    assert value is None if expected is None else value == pytest.approx(expected)


@pytest.mark.parametrize(("cell", "decimal"), [
    ("1,234.5", "."), ("1.234,5", ","), ("12.5 kW", "."), ("1_000", "."), ("inf", "."), ("1e400", "."), ("12 5", "."), ("0x1F", "."),
    ("٣", "."),
])  # fmt: skip
def test_cells_that_can_be_misread(cell: str, decimal: str) -> None:
    with pytest.raises(ValueError, match=r"is no number|has a point|too large"):
        parse_value(cell, parse_column("c", "1 W node", "x"), decimal)
