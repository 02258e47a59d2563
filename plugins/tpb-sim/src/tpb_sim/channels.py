"""Channels of simulated sensors: what a manifest says of them, and the errors that a card is born with."""

from __future__ import annotations

import dataclasses
import math
import random

from tpb_core.api import Channel
from tpb_sim.sensor import SensorSpec

COMMON_R = 0.4
"""Correlation of the gain errors of cards of one model, as declared and as drawn."""
MAX_POWER_W = 1500.0


def device_channels(name: str, node: str, spec: SensorSpec, sensor: str) -> list[Channel]:
    """The energy counter (where the sensor has one) and the power reading of a device `n0/gpu0`."""
    known = spec.gain_u_rel is not None
    power = Channel(
        channel=f"{name}/power",
        domain=name,
        parent=node,
        node=node,
        scope="gpu",
        kind="power",
        unit="W",
        evidence="simulated",
        device=name,
        sensor=sensor,
        role="check" if spec.counter else "primary",
        point="rail",
        resolution=spec.resolution_w,
        max_power_w=MAX_POWER_W,
        averaging_ms=spec.averaging_ms,
        update_ms=spec.update_ms,
        delay_ms=spec.delay_ms,
        averaging_u_ms=0.0,
        update_u_ms=spec.jitter_ms,
        delay_u_ms=0.0,
        gain_u_rel=spec.gain_u_rel,
        offset_u_w=spec.offset_u_w,
        calibration=_calibration(spec),
        common_group="simulated cards" if known else None,
        common_r=COMMON_R if known else None,
    )
    if not spec.counter:
        return [power]
    energy = dataclasses.replace(
        power,
        channel=f"{name}/energy",
        kind="energy_counter",
        unit="J",
        role="primary",
        resolution=spec.resolution_j,
        wrap=spec.wrap_j,
        # Below update_ms: the counter adds up readings that saw this part of each period. None: it counts all the time.
        averaging_ms=spec.averaging_ms if spec.counter_sampled else None,
        averaging_u_ms=0.0 if spec.counter_sampled else None,
    )
    return [energy, power]


def node_channel(node: str, spec: SensorSpec, sensor: str) -> Channel:
    """The slow power reading of a whole node at the outlet."""
    return Channel(
        channel=f"{node}/power", domain=node, parent=None, node=node, scope="node", kind="power", unit="W", evidence="simulated",
        device=sensor, sensor=sensor, role="primary", point="ac", resolution=spec.resolution_w, averaging_ms=spec.averaging_ms,
        update_ms=spec.update_ms, delay_ms=spec.delay_ms, averaging_u_ms=0.0, update_u_ms=spec.jitter_ms, delay_u_ms=0.0,
        max_power_w=10 * MAX_POWER_W, gain_u_rel=spec.gain_u_rel, offset_u_w=spec.offset_u_w, calibration=_calibration(spec),
    )  # fmt: skip


def drawn_errors(spec: SensorSpec, seed: int, name: str) -> SensorSpec:
    """The sensor with gain and offset drawn from what its channels declare; gains of one seed's cards correlate by `COMMON_R`."""
    own, group = random.Random(f"{seed} {name}"), random.Random(f"{seed} all cards")
    shared = COMMON_R if "/" in name else 0.0
    z = math.sqrt(shared) * group.gauss(0.0, 1.0) + math.sqrt(1.0 - shared) * own.gauss(0.0, 1.0)
    return dataclasses.replace(
        spec,
        gain=spec.gain * (1.0 + (spec.gain_u_rel or 0.0) * z),
        offset_w=spec.offset_w + (spec.offset_u_w or 0.0) * own.gauss(0.0, 1.0),
    )


def _calibration(spec: SensorSpec) -> dict[str, str] | None:
    if spec.gain_u_rel is None:
        return None
    return {"source": "prior", "note": "the spread from which simulated cards are drawn when asked to"}
