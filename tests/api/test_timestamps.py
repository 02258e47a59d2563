"""Time stamps of logs: formats, zones, and the two nights a year on which local time lies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import BadInput
from tpb_core.api.timestamps import Stamp, StampFormat, in_order

NOON_NS = 1_784_548_800 * 10**9  # 2026-07-20 12:00:00 UTC
BERLIN = StampFormat("%d.%m.%Y %H:%M:%S", "Europe/Berlin")


@pytest.mark.parametrize(("format", "zone", "text", "expected_ns"), [
    ("iso", None, "2026-07-20T12:00:00Z", NOON_NS),
    ("iso", None, "2026-07-20 14:00:00.25+02:00", NOON_NS + 250_000_000),
    ("iso", None, "2026-07-20T12:00:00,123456789Z", NOON_NS + 123_456_789),
    ("iso", "UTC", "2026-07-20 12:00", NOON_NS),
    ("iso", "Europe/Berlin", "2026-07-20 14:00:00", NOON_NS),
    ("%d.%m.%Y %H:%M:%S", "Europe/Berlin", "20.07.2026 14:00:00", NOON_NS),
    ("%m/%d/%Y %I:%M:%S %p", "America/New_York", "07/20/2026 08:00:00 AM", NOON_NS),
    ("unix_s", None, "1784548800.5", NOON_NS + 500_000_000),
    ("unix_ms", None, "1784548800250", NOON_NS + 250_000_000),
    ("unix_ns", None, "1784548800000000001", NOON_NS + 1),
])  # fmt: skip
def test_formats(format: str, zone: str | None, text: str, expected_ns: int) -> None:
    assert StampFormat(format, zone).parse(text) == Stamp(expected_ns, expected_ns)


@pytest.mark.parametrize(("format", "zone", "text"), [
    ("iso", None, "2026-07-20T12:00:00"),  # no offset and no zone
    ("iso", "UTC", "2026-07-20"), ("iso", "UTC", "12:00:00"), ("iso", "UTC", "20/07/2026 12:00"),
    ("iso", "Europe/Berlin", "2026-03-29 02:30:00"),  # skipped by the change to summer time
    ("unix_s", None, "1784548800250"), ("unix_ms", None, "1784548800"),  # the wrong unit
    ("unix_s", None, "-5"), ("unix_s", None, "1e9"), ("%H:%M", "UTC", "12:00"),
])  # fmt: skip
def test_what_is_no_time(format: str, zone: str | None, text: str) -> None:
    with pytest.raises(ValueError):
        StampFormat(format, zone).parse(text)


def test_unknown_zone() -> None:
    with pytest.raises(BadInput, match="no time zone"):
        StampFormat("iso", "Europe/Atlantis")


@given(
    st.text(max_size=40),
    st.sampled_from(["iso", "unix_s", "unix_ns", "%Y-%m-%d %H:%M:%S"]),
    st.sampled_from([None, "UTC", "Europe/Berlin"]),
)
def test_any_text_is_a_stamp_or_a_value_error(text: str, format: str, zone: str | None) -> None:
    try:
        stamp = StampFormat(format, zone).parse(text)
    except ValueError:
        return
    assert 0 < stamp.first_ns <= stamp.second_ns


@given(
    st.integers(0, 20 * 365 * 86400),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    st.integers(1, 1500),
)
def test_a_log_in_local_time_comes_back_as_it_was_written(offset_s: int, zone: str, step_s: int) -> None:
    # 200 rows from anywhere between 2015 and 2035; over a clock change too, unless the whole log lies in the repeated hour.
    start = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(seconds=offset_s)
    moments = [start + timedelta(seconds=step_s * i) for i in range(200)]
    format = StampFormat("%Y-%m-%d %H:%M:%S", zone)
    stamps = [format.parse(moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")) for moment in moments]
    truth = [int(moment.timestamp()) * 10**9 for moment in moments]
    try:
        assert in_order(stamps) == truth
    except ValueError:
        assert all(stamp.ambiguous for stamp in stamps)


def test_the_repeated_hour_in_full() -> None:
    # 2026-10-25, Berlin: 02:00 to 03:00 occurs twice. A row every ten minutes from 01:50 to 03:10 is 15 rows over 2 h 20 min.
    texts = [f"25.10.2026 {h}:{m:02d}:00" for h, m in [(1, 50), *[(2, m) for _ in range(2) for m in range(0, 60, 10)], (3, 0), (3, 10)]]
    resolved = in_order([BERLIN.parse(text) for text in texts])
    assert len(texts) == 15
    assert [b - a for a, b in pairwise(resolved)] == [600 * 10**9] * 14


def test_a_log_that_lies_wholly_in_the_repeated_hour() -> None:
    once = [BERLIN.parse(f"25.10.2026 02:{m:02d}:00") for m in (10, 20, 30)]
    with pytest.raises(ValueError, match="repeats"):
        in_order(once)
    twice = [BERLIN.parse(f"25.10.2026 02:{m:02d}:00") for m in (40, 50, 0, 10)]
    resolved = in_order(twice)
    assert [b - a for a, b in pairwise(resolved)] == [600 * 10**9] * 3
    assert in_order([]) == []
