"""How long a run will take, as far as it can be known beforehand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tpb_core.config.schema import Point
from tpb_core.run.plan import Slot


class Duration(NamedTuple):
    """Seconds. `exact` is False where only a lower bound is known: the idle windows and the stated length of the measurement."""

    seconds: float
    exact: bool


def expected_duration(slots: Sequence[Slot]) -> Duration:
    """Of all slots together: as long as the same point took before in the same output folder, else what its options prescribe."""
    if not slots:
        return Duration(0.0, True)
    before = _durations_before(Path(slots[0].point.out.dir))
    each = [before.get(slot.point.point) for slot in slots]
    seconds = sum(known if known is not None else prescribed_s(slot.point) for slot, known in zip(slots, each, strict=True))
    return Duration(seconds, all(known is not None for known in each))


def prescribed_s(point: Point) -> float:
    """Idle windows, and the most that the measurement may take where that is given; loading and warm-up are not known."""
    return point.run.idle_bare_s + 2 * point.run.idle_s + (point.run.max_duration_s or 0.0)


def _durations_before(out: Path) -> dict[str, float]:
    """Point -> seconds of its newest complete run in this folder."""
    found: dict[str, float] = {}
    for path in sorted(out.glob("*/manifest.json")):
        try:
            manifest = json.loads(path.read_bytes())
            if manifest["status"] == "complete":
                start, end = (datetime.fromisoformat(manifest[key]) for key in ("started_utc", "finished_utc"))
                found[manifest["study"]["point"]] = (end - start).total_seconds()
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def duration_text(duration: Duration) -> str:
    """`at least 8 min` or `about 40 s`."""
    seconds = duration.seconds
    text = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
    return f"about {text}" if duration.exact else f"at least {text}"
