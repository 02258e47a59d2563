"""A log that grows during the run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tpb_core.api import BadInput, EventCode, Reason
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_context import RecordingContext
from tpb_core.testing.meter_suite import MeterSuite
from tpb_meter_csv import CsvConfig, CsvMeter

HEADING = "Time,Power,Plug\n"


def now(ahead_s: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=ahead_s)).isoformat()


def config(path: Path, **options: object) -> CsvConfig:
    settings: dict[str, object] = {"channels": {"wall": "Power W node", "plug": "Plug W outlet"}, "time": "Time", **options}
    return CsvConfig(path=str(path), **settings)  # type: ignore[arg-type]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(HEADING + f"{now(-60)},1,2\n")
    return path


def append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


@pytest.fixture
def opened(log: Path) -> Iterator[tuple[CsvMeter, RecordingContext]]:
    context = RecordingContext()
    meter = CsvMeter(config(log), context)
    meter.discover()
    meter.open()
    yield meter, context
    meter.close()


def test_only_rows_of_the_run_and_only_whole_ones(log: Path, opened: tuple[CsvMeter, RecordingContext]) -> None:
    meter, context = opened
    assert list(meter.read()) == []
    append(log, f"{now(-0.5)},41")
    assert list(meter.read()) == [], "half a row is no row: 41 may become 412"
    append(log, "2.5,n/a\n")
    (reading,) = meter.read()
    assert (reading.channel, reading.value, reading.source_clock) == ("n0/csv_wall", 412.5, "realtime")
    assert context.clock.now_ns() - reading.t_before_ns == pytest.approx(0.5e9, abs=0.2e9), "stamped when it was measured"
    assert context.events == []


def test_nonsense_is_reported_once_and_left_out(log: Path, opened: tuple[CsvMeter, RecordingContext]) -> None:
    meter, context = opened
    for cells in ("abc,5", "1,2,3", f"{now()},7 kW,5", f"{now()},8 kW,6", "\x00,\x00", f"{now(7200)},9,9"):
        append(log, cells + "\n")
    assert [(r.channel, r.value) for r in meter.read()] == [("n0/plug/csv_plug", 5.0), ("n0/plug/csv_plug", 6.0)]
    assert context.codes() == [EventCode.METER_ERROR] * 2


def test_a_cut_and_a_replaced_log_are_followed(log: Path, opened: tuple[CsvMeter, RecordingContext]) -> None:
    meter, context = opened
    log.write_text(f"{now()},10,1\n")
    assert [r.value for r in meter.read()] == [10.0, 1.0]
    assert context.codes() == [EventCode.METER_ERROR]
    fresh = log.with_suffix(".new")
    fresh.write_text(f"{now()},20,2\n")
    os.replace(fresh, log)
    assert [r.value for _ in range(3) for r in meter.read()] == [20.0, 2.0]


def test_what_only_works_after_the_run_says_so(log: Path) -> None:
    for options in ({"clock": "correlation"}, {"time_format": "elapsed_s"}):
        with pytest.raises(BadInput, match="cannot be followed during a run"):
            CsvMeter(config(log, **options), RecordingContext()).discover()
    with pytest.raises(BadInput, match="no line names the columns"):
        CsvMeter(config(log, time="Zeit"), RecordingContext()).discover()


class TestCsv(MeterSuite):
    @pytest.fixture
    def case(self, log: Path) -> Iterator[MeterCase]:
        stop = threading.Event()
        plug = ["15.0"]

        def write() -> None:
            while not stop.wait(0.02):
                append(log, f"{now()},120.0,{plug[0]}\n")

        def break_plug() -> str:
            plug[0] = "fifteen"
            return "n0/plug/csv_plug"

        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.05)
        yield MeterCase(
            CsvMeter,
            config(log),
            settle_s=3.0,
            true_watts={"n0/csv_wall": 120.0, "n0/plug/csv_plug": 15.0},
            break_channel=break_plug,
            refusals={Reason.NOT_CONFIGURED: CsvConfig(), Reason.UNREACHABLE: config(log.with_name("nothing.csv"))},
        )
        stop.set()
        writer.join()
