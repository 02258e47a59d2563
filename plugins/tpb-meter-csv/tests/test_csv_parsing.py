"""Logs as instruments write them, and as nobody should: rows, named problems or BadInput, never a number that is not in the file."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tpb_core.api import BadInput, Reason, Unavailable
from tpb_meter_csv import CsvConfig
from tpb_meter_csv.config import columns_of
from tpb_meter_csv.layout import decode, find_delimiter
from tpb_meter_csv.log import Log, parse_log

NOON_NS = int(datetime(2026, 7, 20, 12, tzinfo=UTC).timestamp()) * 10**9


def parsed(text: str, **options: object) -> Log:
    settings: dict[str, object] = {"path": "log.csv", "channels": {"wall": "Power W node"}, "time": "Time", "time_zone": "UTC", **options}
    config = CsvConfig(**settings)  # type: ignore[arg-type]
    return parse_log(text, config, columns_of(config))


def seconds_and_values(log: Log, name: str = "wall") -> list[tuple[float, float | None]]:
    return [((t - NOON_NS) / 1e9, row.values.get(name)) for t, row in zip(log.times_ns, log.rows, strict=True)]


def test_a_watt_meters_export_with_preamble_semicolons_and_decimal_commas() -> None:
    log = parsed(
        "Wattmeter X-1\r\nSerial;00123\r\n\r\nDatum;Zeit;Wirkleistung [W];Energie [kWh]\r\n"
        "20.07.2026;14:00:00;412,5;1,2500\r\n20.07.2026;14:00:01;1412,5;1,2502\r\n",
        channels={"wall": "Wirkleistung [W] W node", "energy": "Energie [kWh] kWh outlet"}, time="Datum + Zeit",
        time_format="%d.%m.%Y %H:%M:%S", time_zone="Europe/Berlin", decimal=",",
    )  # fmt: skip
    assert seconds_and_values(log) == [(0.0, 412.5), (1.0, 1412.5)]
    assert seconds_and_values(log, "energy") == [(0.0, 4_500_000.0), (1.0, pytest.approx(4_500_720.0))]
    assert list(log.problems) == []
    assert (log.stamp_step_ns, log.row_interval_ns) == (10**9, 10**9)


def test_a_home_automation_history_with_holes() -> None:
    log = parsed(
        "entity_id,state,last_changed\nsensor.plug,41.2,2026-07-20T12:00:00.000Z\nsensor.plug,unavailable,2026-07-20T12:00:05.250Z\n"
        "sensor.plug,43.0,2026-07-20T12:00:10.500Z\n",
        channels={"plug": "state W outlet"}, time="last_changed", time_zone="",
    )  # fmt: skip
    assert seconds_and_values(log, "plug") == [(0.0, 41.2), (5.25, None), (10.5, 43.0)]
    assert list(log.problems) == []


def test_numbered_columns_without_heading_and_newest_first() -> None:
    log = parsed(f"{NOON_NS // 10**9 + 2}\t6550\n{NOON_NS // 10**9}\t6400\n", channels={"wall": "2 W node"}, time="1", time_format="unix_s")
    assert seconds_and_values(log) == [(0.0, 6400.0), (2.0, 6550.0)]


def test_elapsed_time() -> None:
    log = parsed("t,P\n0:00:00.5,10\n0:01:00,11\n", channels={"wall": "P W node"}, time="t", time_format="elapsed_s", time_zone="")
    assert list(log.times_ns) == [500_000_000, 60 * 10**9]


def test_rows_that_cannot_be_used_are_named_and_left_out() -> None:
    log = parsed(
        "Time,Power\n2026-07-20 12:00:00,10\n2026-07-20 12:00:01,\"1,200\"\n2026-07-20 12:00:02,0.5 kW\nTime,Power\n"
        "2026-07-20 11:59:00,9\n2026-07-20 12:00:03,13\n2026-07-20 12:00:04\n"
    )  # fmt: skip
    assert [(t, v) for t, v in seconds_and_values(log) if v is not None] == [(0.0, 10.0), (3.0, 13.0)]
    assert [problem.line for problem in log.problems] == [3, 4, 5, 6]
    assert "wall: '1,200' is no number in W" in str(log.problems[0])
    assert "before that of an earlier row" in log.problems[3].what


def test_a_night_on_which_the_clock_goes_back() -> None:
    rows = [f"2026-10-25 {h}:{m:02d}:00,{100 + m}" for h, m in [("01", 59), *[("02", m) for m in range(60)] * 2, ("03", 0)]]
    log = parsed("Time,Power\n" + "\n".join(rows), time_zone="Europe/Berlin")
    assert list(log.problems) == []
    assert {b - a for a, b in zip(log.times_ns, log.times_ns[1:], strict=False)} == {60 * 10**9}
    assert log.times_ns[-1] - log.times_ns[0] == 121 * 60 * 10**9


@pytest.mark.parametrize(("text", "options", "message"), [
    ("", {}, "no line names the columns"),
    ("a,b\n1,2\n", {}, "no line names the columns 'Time', 'Power'"),
    ("Time,Power\n", {}, "it is empty"),
    ("Time,Power\n2026-07-20 12:00:00,5\n", {"time_zone": ""}, "no offset from UTC, and no zone was given"),
    ("Time,Power\n20/07/2026 12:00,5\n", {}, "is no time in the format 'iso'"),
    ("Time,Power\n2026-10-25 02:10:00,5\n2026-10-25 02:20:00,5\n", {"time_zone": "Europe/Berlin"}, "repeats"),
    ("Time,Power\n2026-03-29 02:10:00,5\n", {"time_zone": "Europe/Berlin"}, "does not exist"),
    ("Time,Power\n2026-07-20 12:00:00,5\n", {"time": "0"}, "no column 0"),
])  # fmt: skip
def test_logs_that_cannot_be_used_at_all(text: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parsed(text, **options)


def test_without_options() -> None:
    with pytest.raises(Unavailable) as refusal:
        columns_of(CsvConfig())
    assert refusal.value.reason is Reason.NOT_CONFIGURED


@pytest.mark.parametrize(("raw", "text"), [
    ("Zeit;Größe".encode(), "Zeit;Größe"), (b"\xef\xbb\xbfTime", "Time"), ("Größe".encode("latin-1"), "Größe"),
    ("Zeit".encode("utf-16"), "Zeit"),
])  # fmt: skip
def test_encodings(raw: bytes, text: str) -> None:
    assert decode(raw) == text


def test_delimiters() -> None:
    assert find_delimiter(["a;b,c;d", "1;2;3"], ".") == ";"
    assert find_delimiter(["a,b,c", "1,2,3"], ".") == ","
    assert find_delimiter(["1,5;2,5"], ",") == ";"
    assert find_delimiter(["a\tb c"], ".") == "\t"


@given(st.binary(max_size=400), st.sampled_from(["iso", "unix_s", "elapsed_s", "%H:%M"]), st.booleans())
@example(b"Time,Power\n1,\x00\n", "unix_s", False)
@example(b'Time,Power\n"1', "unix_s", False)
def test_any_bytes_are_a_log_or_bad_input(raw: bytes, time_format: str, by_number: bool) -> None:
    options = {"channels": {"wall": "2 W node"}, "time": "1"} if by_number else {}
    with contextlib.suppress(BadInput):
        log = parsed(decode(raw), time_format=time_format, **options)
        assert len(log.rows) == len(log.times_ns)
        assert list(log.times_ns) == sorted(log.times_ns)


CELL = st.text(st.characters(codec="utf-8", exclude_characters='\r\n",'), max_size=12)


@given(st.lists(st.tuples(st.integers(0, 10**6), CELL), min_size=1, max_size=30))
def test_a_value_is_in_the_file_or_it_is_not_given(rows: list[tuple[int, str]]) -> None:
    text = "Time,Power\n" + "\n".join(f"{NOON_NS // 10**9 + t},{cell}" for t, cell in rows)
    with contextlib.suppress(BadInput):
        log = parsed(text, time_format="unix_s")
        written = [cell.strip().removesuffix("W").strip().strip("'").strip() for _, cell in rows]
        for row in log.rows:
            if "wall" in row.values:
                assert row.values["wall"] in [float(cell) for cell in written if cell and cell[-1] in ".0123456789" and "_" not in cell]
