"""`manifest.json`: what a run is. Replaced atomically, so that a reader sees the old one or the new one, never half of one."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tpb_core.api.errors import BadBundle
from tpb_core.api.versions import BUNDLE_FORMAT, BUNDLE_VERSION

MANIFEST = "manifest.json"
STATUSES = ("running", "complete", "partial", "failed")
_REQUIRED = ("format", "version", "run_id", "status", "channels")


def new_run_id() -> str:
    """A unique name that sorts by start: UTC to the millisecond and 32 random bits, for example `20260131T093000123Z-1f00c0de`."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03d}Z-{secrets.token_hex(4)}"


def utc_text(moment: datetime | None = None) -> str:
    """ISO 8601 in UTC with microseconds, as in `started_utc` and `finished_utc`."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def write_manifest(bundle: Path, manifest: dict[str, Any]) -> None:
    """Replace the bundle's manifest and wait until it is on the disk. `format` and `version` are filled in. Raises OSError."""
    document = {"format": BUNDLE_FORMAT, "version": BUNDLE_VERSION, **manifest}
    replace_durably(bundle / MANIFEST, (json.dumps(_plain(document), indent=1, allow_nan=False) + "\n").encode())


def replace_durably(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, flush it to the disk and rename it over `path`. The old file stays when this fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest of a bundle. Raises BadBundle where it is missing, is not JSON, lacks a key or comes from a newer major version."""
    path = bundle / MANIFEST
    if not bundle.is_dir():
        raise BadBundle("no such folder", file=str(bundle), fix="Give the folder of a run, for example runs/<run_id>.")
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise BadBundle(
            "is missing, so the folder is no run bundle", file=str(path), fix="Give the folder of a run, for example runs/<run_id>."
        ) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise BadBundle(f"is not valid JSON: {error}", file=str(path)) from None
    if not isinstance(manifest, dict):
        raise BadBundle("is not a JSON object", file=str(path))
    for key in _REQUIRED:
        if manifest.get(key) is None:
            raise BadBundle(f"the required key {key!r} is missing", file=str(path))
    _check_version(path, manifest)
    if manifest["status"] not in STATUSES:
        raise BadBundle(f"status {manifest['status']!r} is none of {', '.join(STATUSES)}", file=str(path))
    return manifest


def _check_version(path: Path, manifest: dict[str, Any]) -> None:
    if manifest["format"] != BUNDLE_FORMAT:
        raise BadBundle(f"format is {manifest['format']!r}, not {BUNDLE_FORMAT!r}", file=str(path))
    try:
        major = int(str(manifest["version"]).split(".")[0])
    except ValueError:
        raise BadBundle(f"version {manifest['version']!r} is not of the form major.minor", file=str(path)) from None
    if major > int(BUNDLE_VERSION.split(".")[0]):
        raise BadBundle(
            f"the bundle has version {manifest['version']} and this tpb reads up to {BUNDLE_VERSION}",
            file=str(path),
            fix="Update tpb: pip install --upgrade tpb-core, or pull the clone it is installed from.",
        )


def _plain(value: Any) -> Any:
    """JSON values only. A number that is not finite says nothing and becomes null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    return str(value)
