"""What a power sensor does to the truth: a record of its timing, errors and faults, and the classes known by name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from tpb_core.api import BadInput


@dataclass(frozen=True)
class SensorSpec:
    """One physical sensor that offers a power reading and an energy counter on one grid of updates.

    At update k (every `update_ms`, jittered by `jitter_ms` standard deviation) the reading becomes
    gain * (mean true power over the last `averaging_ms`, seen `delay_ms` late) + offset_w + noise, rounded to `resolution_w`.
    The counter becomes the integral of gain * power + offset_w, rounded down to `resolution_j`, modulo `wrap_j` (0: never wraps).
    """

    update_ms: float = 100.0
    averaging_ms: float = 25.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    gain: float = 1.0
    offset_w: float = 0.0
    noise_w: float = 0.0
    resolution_w: float = 0.001
    resolution_j: float = 0.001
    wrap_j: float = 0.0
    counter_sampled: bool = False
    """True: the counter adds reading times period, so that it sees the averaging windows only (the 25 % duty cycle), not all power."""
    gain_u_rel: float | None = None
    offset_u_w: float | None = None
    """What the channels declare as standard uncertainty of gain and offset; None: nothing is known."""
    counter: bool = True
    """Whether there is an energy counter."""


@dataclass(frozen=True)
class Faults:
    """When a sensor misbehaves, in s after the start of the world."""

    resets_s: tuple[float, ...] = ()
    """The counter begins again at 0 (a driver was reloaded)."""
    gaps_s: tuple[tuple[float, float], ...] = ()
    """Nothing can be read."""
    stuck_s: tuple[tuple[float, float], ...] = ()
    """Every read repeats the value from the beginning of the stretch."""


SENSORS: dict[str, SensorSpec] = {
    "ideal": SensorSpec(update_ms=1.0, averaging_ms=0.0, resolution_w=0.0, resolution_j=0.0, gain_u_rel=0.0, offset_u_w=0.0),
    "v100": SensorSpec(noise_w=1.0, update_ms=20.0, averaging_ms=10.0, gain_u_rel=0.037, offset_u_w=5.9),
    "a100": SensorSpec(
        noise_w=1.0, update_ms=101.0, averaging_ms=25.0, jitter_ms=0.5, counter_sampled=True, gain_u_rel=0.037, offset_u_w=5.9
    ),
    "h100": SensorSpec(noise_w=1.0, update_ms=100.0, averaging_ms=25.0, jitter_ms=0.3, gain_u_rel=0.037, offset_u_w=5.9),
    "rtx3090_instant": SensorSpec(
        noise_w=1.0, update_ms=100.0, averaging_ms=100.0, jitter_ms=0.5, resolution_w=0.01, gain_u_rel=0.037, offset_u_w=5.9
    ),
    "rtx3090_average": SensorSpec(
        noise_w=1.0, update_ms=100.0, averaging_ms=1000.0, jitter_ms=0.5, resolution_w=0.01, gain_u_rel=0.037, offset_u_w=5.9
    ),
    "average_1s": SensorSpec(update_ms=1000.0, averaging_ms=1000.0, resolution_w=0.1, counter=False, gain_u_rel=0.01, offset_u_w=1.0),
    "bmc": SensorSpec(
        update_ms=1000.0, averaging_ms=1000.0, delay_ms=2300.0, resolution_w=8.0, counter=False, gain_u_rel=0.02, offset_u_w=5.0
    ),
}
"""Sensor classes by name. The spread of gains is the one that was published for 19 cards; a simulated card draws from it when asked to."""


def sensor_spec(name: str, changes: Mapping[str, float | bool] | None = None) -> SensorSpec:
    """The named sensor class with some of its numbers replaced. Raises `BadInput` for an unknown name or number."""
    if name not in SENSORS:
        near = difflib.get_close_matches(name, SENSORS)
        raise BadInput(
            f"there is no sensor class {name!r}", f"Known: {', '.join(SENSORS)}.", [f"Did you mean {near[0]!r}?"] if near else []
        )
    known = {f.name for f in dataclasses.fields(SensorSpec)}
    for change in changes or {}:
        if change not in known:
            raise BadInput(f"a sensor has no number {change!r}", f"It has: {', '.join(sorted(known))}.")
    return dataclasses.replace(SENSORS[name], **(changes or {}))  # type: ignore[arg-type]
