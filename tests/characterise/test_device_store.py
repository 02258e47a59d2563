"""Findings about sensors: kept per sensor, replaced by newer ones, used under the same driver only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, Channel
from tpb_core.api.gpu_sensors import SENSOR_CLASSES
from tpb_core.run.device_store import DeviceStore, Finding, apply_findings

UTC = "2026-11-21T00:00:00Z"
TIMING = {"averaging_ms": 26.1, "averaging_u_ms": 1.2, "delay_ms": 14.0, "delay_u_ms": 5.8}
GAIN = {"gain": 1.04, "offset_w": -3.0, "gain_u_rel": 0.01, "offset_u_w": 1.5}


def board(driver: str | None = "580.95", **more: Any) -> Channel:
    extensions = {"x_driver": driver} if driver else {}
    return Channel(
        "n0/gpu0/power",
        "n0/gpu0",
        "gpu",
        "power",
        "W",
        "measured",
        meter="nvml",
        sensor="GPU-1",
        averaging_ms=25.0,
        extensions=extensions,
        **more,
    )


def finding(source: str = "characterised", **more: Any) -> Finding:
    values = TIMING if source == "characterised" else GAIN
    fields = {"sensor": "GPU-1", "meter": "nvml", "tail": "power", "driver": "580.95", "source": source, "utc": UTC, "values": values}
    return Finding(**{**fields, **more})


def applied(store: DeviceStore, channel: Channel) -> Channel:
    apply_findings([channel], store, "machine")
    return channel


def test_timing_and_gain_reach_the_channel_and_say_where_they_come_from(tmp_path: Path) -> None:
    store = DeviceStore(tmp_path / "devices")
    store.add([finding(note="60 edges"), finding("calibrated", note="against n0/wall")])
    channel = applied(store, board(common_group="nvidia/H100", common_r=0.4))
    assert {key: getattr(channel, key) for key in (*TIMING, *GAIN)} == {**TIMING, **GAIN}
    assert channel.calibration == {"source": "calibrated", "utc": UTC, "note": "against n0/wall"}
    assert channel.common_group is None, "an error that was measured is no longer shared with its model"


def test_timing_alone_keeps_the_prior_of_the_gain(tmp_path: Path) -> None:
    store = DeviceStore(tmp_path)
    store.add([finding()])
    prior = {"source": "prior", "utc": None, "note": "19 cards"}
    channel = applied(store, board(gain_u_rel=0.037, offset_u_w=5.9, calibration=prior))
    assert channel.averaging_ms == 26.1
    assert channel.calibration == prior
    assert applied(store, board()).calibration == {"source": "characterised", "utc": UTC, "note": ""}


@pytest.mark.parametrize(
    "other", [{"driver": "590.10"}, {"meter": "dcgm"}, {"sensor": "GPU-2"}, {"tail": "power_average"}, {"driver": None}]
)
def test_another_driver_meter_sensor_or_reading_is_not_touched(tmp_path: Path, other: dict[str, Any]) -> None:
    store = DeviceStore(tmp_path)
    store.add([finding(**other)])
    channel = applied(store, board())
    assert channel.averaging_ms == 25.0
    assert channel.calibration is None


def test_a_newer_finding_replaces_its_like_and_no_other(tmp_path: Path) -> None:
    store = DeviceStore(tmp_path)
    store.add([finding(), finding(driver="590.10"), finding(tail="power_average")])
    (path,) = store.add([finding(utc="2026-12-01T00:00:00Z")])
    assert path.parent == tmp_path
    kept = {(one.tail, one.driver): one.utc for one in store.all()}
    newest = {("power", "580.95"): "2026-12-01T00:00:00Z", ("power", "590.10"): UTC, ("power_average", "580.95"): UTC}
    assert kept == newest


def test_a_calibration_that_the_user_states_in_the_options_stays(tmp_path: Path) -> None:
    store = DeviceStore(tmp_path)
    store.add([finding("calibrated")])
    stated = {"source": "calibrated", "utc": None, "note": "certificate 17"}
    channel = applied(store, board(gain=1.01, calibration=stated))
    assert channel.gain == 1.01
    assert channel.calibration == stated


@pytest.mark.parametrize("content", ["", "{}", '{"format": "tpb-device", "version": 2, "findings": []}', '{"format": "x", "version": 1}'])
def test_a_damaged_file_is_named_and_never_left_out_silently(tmp_path: Path, content: str) -> None:
    store = DeviceStore(tmp_path)
    (path,) = store.add([finding()])
    path.write_text(content)
    with pytest.raises(BadInput, match=path.name):
        applied(store, board())


def test_keys_that_are_no_findings_are_refused(tmp_path: Path) -> None:
    store = DeviceStore(tmp_path)
    store.add([finding(values={"wrap": 1.0})])
    with pytest.raises(BadInput, match="wrap"):
        store.all()


def test_every_prior_of_a_sensor_class_names_its_source() -> None:
    for row in SENSOR_CLASSES:
        assert row.instant.source
        assert row.gain is None or (row.gain.source and 0 < row.gain.common_r < 1)
    assert next(row for row in SENSOR_CLASSES if row.name == "h100").gain is None, "no data, no prior"
