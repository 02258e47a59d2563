"""The shape of a manifest's keys beyond the required ones: objects where objects belong, lists of objects where lists do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tpb_core.api.errors import BadBundle

_OBJECTS = ("study", "clock", "engine", "step_log", "load", "config", "choices", "environment", "overhead")
_LISTS = ("channels", "nodes", "plugins")
_TEXTS = ("run_id", "status_reason", "started_utc", "finished_utc")


def check_shape(manifest: Mapping[str, Any], file: str) -> None:
    """Raises BadBundle naming the key, and the place in the list as row. Absent and null keys are fine."""
    for key in _OBJECTS:
        _object(manifest.get(key), file, key)
    for key in _LISTS:
        _objects(manifest.get(key), file, key)
    for key in _TEXTS:
        if not isinstance(manifest.get(key), (str, type(None))):
            raise BadBundle(f"{manifest[key]!r} is not a string", file=file, column=key)
    engine, clock = manifest.get("engine") or {}, manifest.get("clock") or {}
    _objects(engine.get("instances"), file, "engine.instances")
    for row, instance in enumerate(engine.get("instances") or ()):
        if instance.get("instance") is None:
            raise BadBundle("the required key is missing", file=file, column="engine.instances.instance", row=row)
    _objects(clock.get("anchors"), file, "clock.anchors")
    for row, anchor in enumerate(clock.get("anchors") or ()):
        for key in ("run_ns", "realtime_ns"):
            if not isinstance(anchor.get(key), int) or isinstance(anchor[key], bool):
                raise BadBundle(f"{anchor.get(key)!r} is not a whole number of ns", file=file, column=f"clock.anchors.{key}", row=row)
    if not isinstance(clock.get("virtual", False), (bool, type(None))):
        raise BadBundle(f"{clock['virtual']!r} is neither true nor false", file=file, column="clock.virtual")
    _object((manifest.get("load") or {}).get("parameters"), file, "load.parameters")
    for key in ("repeat", "order"):
        if not isinstance((manifest.get("study") or {}).get(key), (int, type(None))):
            raise BadBundle("is not a whole number", file=file, column=f"study.{key}")


def _object(value: Any, file: str, key: str) -> None:
    if not isinstance(value, (dict, type(None))):
        raise BadBundle("is not a JSON object", file=file, column=key)


def _objects(value: Any, file: str, key: str) -> None:
    if not isinstance(value, (list, type(None))):
        raise BadBundle("is not a list", file=file, column=key)
    for row, item in enumerate(value or ()):
        if not isinstance(item, dict):
            raise BadBundle("is not a JSON object", file=file, column=key, row=row)
