"""A log joined to a finished run: by true time, by anchors, by correlation with a channel of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tpb_core.api import BadInput, Channel, Column, Series, Window
from tpb_core.testing.channel_rules import breaches
from tpb_meter_csv import CsvConfig
from tpb_meter_csv.join import JoinedLog, join_log

RUN_START_NS = 50_000 * 10**9
TRUE_START = datetime(2026, 7, 20, 12, tzinfo=UTC)
DURATION_S = 180.0


@dataclass
class RecordedRun:
    """A run with one GPU channel, read ten times a second (a run view of its own, as outsiders may write one)."""

    series_of: dict[str, Series]
    channels: Sequence[Channel]
    run_id: str = "recorded"
    windows: Sequence[Window] = (Window("measure", RUN_START_NS, RUN_START_NS + int(DURATION_S * 1e9)),)
    manifest: Mapping[str, Any] = field(default_factory=lambda: {"clock": {"anchors": [
        {"run_ns": RUN_START_NS, "realtime_ns": int(TRUE_START.timestamp()) * 10**9},
        {"run_ns": RUN_START_NS + 200 * 10**9, "realtime_ns": (int(TRUE_START.timestamp()) + 200) * 10**9},
    ]}})  # fmt: skip

    def series(self, channel: str) -> Series:
        return self.series_of[channel]

    def columns(self, table: str) -> Mapping[str, Column] | None:
        return None

    def steps_members(self) -> None:
        return None


def load_w(t_s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A GPU that works in bursts of uneven length."""
    return np.where((t_s % 17.37 < 7.13) | ((t_s > 100.4) & (t_s < 117.9)), 350.0, 70.0)


def recorded_run(flat: bool = False, counter: bool = False) -> RecordedRun:
    t_s = np.arange(-5.0, DURATION_S + 5.0, 0.1)
    watts = np.full_like(t_s, 100.0) if flat else load_w(t_s)
    value = np.concatenate([[0.0], np.cumsum(watts[1:] * 0.1)]) % 10_000.0 if counter else watts
    channel = Channel(
        "n0/gpu0/x", "n0/gpu0", "gpu", "energy_counter" if counter else "power", "J" if counter else "W", "measured",
        parent="n0", sensor="GPU-1", averaging_ms=0.0, wrap=10_000.0 if counter else None,
    )  # fmt: skip
    t_ns = RUN_START_NS + (t_s * 1e9).astype(np.int64)
    return RecordedRun({channel.channel: Series(t_ns, np.full(len(t_ns), 1000), value)}, [channel])


def wall_log(path: Path, ahead_s: float, seed: int = 0, averaging_s: float = 1.0, flat: bool = False, name_zone: bool = True) -> None:
    """A wall meter: 80 W + 1.12 x the GPU's mean over the last second, once a second, in whole watts with noise, its clock ahead."""
    random = np.random.default_rng(seed)
    fine = np.arange(-120.0, DURATION_S + 120.0, 0.01)
    energy = np.concatenate([[0.0], np.cumsum(np.full(len(fine) - 1, 1.0) if flat else load_w(fine[:-1]) * 0.01)])
    lines = ["Time,Power,Energy"]
    total_wh = 0.0
    for second in np.arange(-30.0, DURATION_S + 30.0, 1.0) + random.uniform(0, 1):
        mean = 100.0 if flat else float(np.interp(second, fine, energy) - np.interp(second - averaging_s, fine, energy)) / averaging_s
        watts = round(80.0 + 1.12 * mean + random.normal(0, 3.0))
        total_wh += watts / 3600
        stamp = TRUE_START + timedelta(seconds=float(second) + ahead_s)
        lines.append(f"{stamp.isoformat(timespec='milliseconds') if name_zone else stamp.strftime('%H:%M:%S')},{watts},{total_wh:.4f}")
    path.write_text("\n".join(lines) + "\n")


def joined(path: Path, run: RecordedRun, **options: object) -> JoinedLog:
    settings: dict[str, object] = {"channels": {"wall": "Power W node"}, "time": "Time", **options}
    return join_log(run, CsvConfig(path=str(path), **settings), machine_id="m1")  # type: ignore[arg-type]


def test_a_log_with_true_time(tmp_path: Path) -> None:
    wall_log(tmp_path / "wall.csv", ahead_s=2.0)
    channels = {"wall": "Power W node", "e": "Energy Wh node"}
    log = joined(tmp_path / "wall.csv", recorded_run(), clock_ahead_s=2.0, clock_u_s=0.05, channels=channels)
    wall, energy = log.channels
    assert breaches(log.channels) == []
    assert (wall.domain, wall.parent, wall.scope, wall.kind, wall.unit, wall.evidence) == ("n0", None, "node", "power", "W", "measured")
    assert (wall.sensor, wall.averaging_ms, wall.update_ms, wall.resolution) == ("m1/log/wall.csv/wall", None, 1000.0, 1.0)
    assert (wall.delay_u_ms, energy.kind, energy.unit) == (50.0, "energy_counter", "J")
    assert energy.resolution == pytest.approx(0.36, rel=0.01)
    series = log.series[wall.channel]
    source = np.array([int(t) for t in series.source_ns])
    expected = RUN_START_NS + (source - int(TRUE_START.timestamp()) * 10**9) - 2 * 10**9
    assert np.abs(series.t_ns - expected).max() <= 1
    assert series.t_ns[0] < RUN_START_NS < RUN_START_NS + DURATION_S * 1e9 < series.t_ns[-1], "samples enclose the run"
    first = log.rows()[0]
    assert first[0] == wall.channel
    assert first[4] == "realtime"
    assert len(log.rows()) == 2 * len(series.value)


@pytest.mark.parametrize("counter", [False, True])
def test_correlation_finds_the_clock_and_the_relation(tmp_path: Path, counter: bool) -> None:
    wall_log(tmp_path / "wall.csv", ahead_s=37.4)
    log = joined(tmp_path / "wall.csv", recorded_run(counter=counter), clock="correlation")
    facts = log.clock.facts
    assert facts["x_clock_ahead_s"] == pytest.approx(37.4, abs=2 * log.clock.u_s)
    assert log.clock.u_s < 0.15
    assert facts["x_slope"] == pytest.approx(1.12, abs=0.02)
    assert facts["x_intercept_w"] == pytest.approx(80.0, abs=5.0)
    assert facts["x_averaging_fitted_ms"] == pytest.approx(1000.0, rel=0.25)
    assert facts["x_clock_reference"] == "n0/gpu0/x"


def test_the_interval_of_the_offset_covers_the_truth(tmp_path: Path) -> None:
    # 40 logs with a fixed seed each: the 95 % interval has to hold the truth in at least 36 of them, and be shorter than half a row.
    random = np.random.default_rng(7)
    held = 0
    for seed in range(40):
        ahead_s = float(random.uniform(-8, 8))
        wall_log(tmp_path / "wall.csv", ahead_s, seed)
        log = joined(tmp_path / "wall.csv", recorded_run(), clock="correlation", search_s=15.0, averaging_ms=1000.0)
        held += abs(log.clock.facts["x_clock_ahead_s"] - ahead_s) <= 1.96 * log.clock.u_s
        assert 1.96 * log.clock.u_s < 0.5
    assert held >= 36


def test_correlation_from_energy_alone_and_from_elapsed_time(tmp_path: Path) -> None:
    wall_log(tmp_path / "wall.csv", ahead_s=5.0)
    log = joined(tmp_path / "wall.csv", recorded_run(), clock="correlation", channels={"e": "Energy Wh node"}, search_s=20.0)
    assert log.clock.facts["x_clock_ahead_s"] == pytest.approx(5.0, abs=0.6)
    rows = (tmp_path / "wall.csv").read_text().splitlines()
    begin = datetime.fromisoformat(rows[1].split(",")[0])
    shifted = [f"{(datetime.fromisoformat(r.split(',')[0]) - begin).total_seconds():.3f},{r.split(',')[1]}" for r in rows[1:]]
    (tmp_path / "elapsed.csv").write_text("Time,Power\n" + "\n".join(shifted))
    log = joined(tmp_path / "elapsed.csv", recorded_run(), clock="correlation", time_format="elapsed_s")
    truth_ns = RUN_START_NS + int((begin - TRUE_START).total_seconds() * 1e9) - 5 * 10**9
    assert abs(int(log.clock.to_run(np.array([0], np.int64))[0]) - truth_ns) < 0.2e9
    assert log.source_clock == "device"


def test_a_flat_load_cannot_be_aligned(tmp_path: Path) -> None:
    wall_log(tmp_path / "wall.csv", ahead_s=5.0, flat=True)
    with pytest.raises(BadInput, match="too little in common"):
        joined(tmp_path / "wall.csv", recorded_run(flat=True), clock="correlation")


def test_an_offset_beyond_the_search_is_refused(tmp_path: Path) -> None:
    wall_log(tmp_path / "wall.csv", ahead_s=400.0)
    with pytest.raises(BadInput, match=r"rows of the log fall into the run|too little in common|edge of the search"):
        joined(tmp_path / "wall.csv", recorded_run(), clock="correlation", search_s=30.0)


def test_a_log_of_another_zone_is_refused_with_a_hint(tmp_path: Path) -> None:
    wall_log(tmp_path / "wall.csv", ahead_s=7200.0)
    with pytest.raises(BadInput, match="no row falls into the run") as refusal:
        joined(tmp_path / "wall.csv", recorded_run())
    assert "about 2 h: is meter.csv.time_zone" in (refusal.value.fix or "")


def test_one_anchor_is_an_offset_and_two_follow_the_drift(tmp_path: Path) -> None:
    (tmp_path / "wall.csv").write_text("Time,Power\n" + "\n".join(f"{t},{100 + t}" for t in range(0, 200, 10)))
    options = {"clock": "anchors", "time_format": "elapsed_s", "clock_u_s": 0.2}
    log = joined(tmp_path / "wall.csv", recorded_run(), anchors=["10 = measure.start"], **options)
    assert ((log.series["n0/csv_wall"].t_ns - RUN_START_NS) / 1e9).tolist() == [float(t - 10) for t in range(0, 200, 10)]
    assert log.channels[0].delay_u_ms == 200.0
    # The log's clock gains 0.5 %: between the anchors 180 s of the run are 180.9 s of the log.
    log = joined(tmp_path / "wall.csv", recorded_run(), anchors=["10 = measure.start", "190.9 = 2026-07-20T12:03:00Z"], **options)
    series = log.series["n0/csv_wall"]
    at_100 = float(series.t_ns[series.source_ns == 100 * 10**9][0] - RUN_START_NS) / 1e9
    assert at_100 == pytest.approx(90 * 180 / 180.9, abs=1e-6)


@pytest.mark.parametrize(("anchors", "message"), [
    ([], "needs anchors"), (["10"], "is not LOG TIME = TRUE TIME"), (["10 = idle.start"], "has no window 'idle'"),
    (["x = measure.start"], "no elapsed time"), (["10 = 2026-07-20T12:00:00"], "no offset"),
    (["10 = measure.start", "20 = measure.end"], "times true time"),
])  # fmt: skip
def test_anchors_that_cannot_be(tmp_path: Path, anchors: list[str], message: str) -> None:
    (tmp_path / "wall.csv").write_text("Time,Power\n10,5\n20,6\n")
    with pytest.raises(BadInput, match=message):
        joined(tmp_path / "wall.csv", recorded_run(), clock="anchors", time_format="elapsed_s", anchors=anchors)


def test_a_simulated_run_has_no_true_time(tmp_path: Path) -> None:
    wall_log(tmp_path / "wall.csv", ahead_s=0.0)
    run = recorded_run()
    run.manifest = {"clock": {"virtual": True, "anchors": [{"run_ns": 0, "realtime_ns": 0}]}}
    with pytest.raises(BadInput, match="true time"):
        joined(tmp_path / "wall.csv", run)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        joined(tmp_path / "nothing.csv", recorded_run())
