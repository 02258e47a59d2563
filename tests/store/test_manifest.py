"""The manifest: atomic, plain JSON, and refused with a reason where it cannot be read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api.channel import Channel
from tpb_core.api.errors import BadBundle
from tpb_core.store.manifest import new_run_id, read_manifest, write_manifest

_BASE: dict[str, Any] = {"run_id": "r", "status": "running", "channels": []}


def test_round_trip_fills_in_format_and_version(tmp_path: Path) -> None:
    channel = Channel("c", "n0/gpu0", "gpu", "power", "W", "measured", max_power_w=math.inf)
    write_manifest(tmp_path, {**_BASE, "channels": [channel.to_json()], "where": tmp_path})
    manifest = read_manifest(tmp_path)
    assert (manifest["format"], manifest["version"]) == ("tpb-run", "1.0")
    assert manifest["channels"][0]["max_power_w"] is None
    assert manifest["where"] == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": "2.0"}, "version 2.0"),
        ({"version": "new"}, "major.minor"),
        ({"format": "other"}, "other"),
        ({"run_id": None}, "run_id"),
        ({"status": "done"}, "done"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    write_manifest(tmp_path, {**_BASE, **change})
    with pytest.raises(BadBundle, match="manifest") as caught:
        read_manifest(tmp_path)
    assert says in caught.value.what


def test_a_newer_minor_version_is_read(tmp_path: Path) -> None:
    write_manifest(tmp_path, {**_BASE, "version": "1.7"})
    assert read_manifest(tmp_path)["version"] == "1.7"


def test_half_a_manifest_and_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match="missing"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(_BASE)[:-5])
    with pytest.raises(BadBundle, match="JSON"):
        read_manifest(tmp_path)


def test_run_ids_sort_by_start_and_differ() -> None:
    ids = [new_run_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert [each[:19] for each in ids] == sorted(each[:19] for each in ids)
