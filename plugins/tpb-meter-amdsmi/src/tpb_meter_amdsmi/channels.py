"""The channels of a socket: domain, scope and roles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tpb_core.api import Channel
from tpb_meter_amdsmi.counter import Verdict
from tpb_meter_amdsmi.die import Socket

PRECEDENCE = 10
TRANSIENT_FACTOR = 1.5
GAUGES = (
    ("temperature", "degC"),
    ("clock_gfx", "MHz"),
    ("clock_memory", "MHz"),
    ("power_limit", "W"),
    ("utilisation", "%"),
    ("utilisation_memory", "%"),
)


@dataclass(frozen=True)
class Part:
    """A socket's part in the run."""

    allocated: bool
    share: float | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Found:
    """What the reporting die offers: power suffixes, the counter's resolution and verdict, the power cap in watts."""

    powers: tuple[str, ...]
    resolution_j: float | None
    verdict: Verdict
    cap_w: float | None


def domain_of(socket: Socket, node: str) -> str:
    """`n0/gpu3`, or `n0/module2` where one sensor covers several dies."""
    return f"{node}/{'gpu' if len(socket.dies) == 1 else 'module'}{socket.speaker.index}"


def channels_of(socket: Socket, part: Part, found: Found, node: str) -> Iterator[Channel]:
    """Ledger channels, the primary one first; then gauges for a socket that the run uses."""
    role = "primary"
    believed = found.verdict.word == "fine"
    if believed:
        yield _counter(socket, part, found, node, role)
        role = "check"
    for suffix in found.powers:
        channel = _channel(socket, part, node, suffix, "power", "W")
        channel.role, channel.resolution, channel.max_power_w = role, 1.0, found.cap_w
        yield channel
        role = "check"
    if found.verdict.word == "wrong":
        yield _counter(socket, part, found, node, role)
    if part.allocated:
        yield from (_channel(socket, part, node, name, "gauge", unit) for name, unit in GAUGES)


def _counter(socket: Socket, part: Part, found: Found, node: str, role: str) -> Channel:
    channel = _channel(socket, part, node, "energy", "energy_counter", "J")
    channel.role, channel.resolution, channel.wrap, channel.max_power_w = role, found.resolution_j, 0.0, found.cap_w
    if found.verdict.ratio is not None:
        channel.extensions["x_counter_over_power"] = round(found.verdict.ratio, 3)
    return channel


def _channel(socket: Socket, part: Part, node: str, suffix: str, kind: str, unit: str) -> Channel:
    speaker, domain = socket.speaker, domain_of(socket, node)
    extensions: dict[str, Any] = {"x_backend": "amdsmi", "x_model": speaker.model, "x_precedence": PRECEDENCE}
    if speaker.driver is not None:
        extensions["x_driver"] = speaker.driver
    if len(socket.dies) > 1:
        extensions["x_dies"] = [die.uuid for die in socket.dies]
    return Channel(
        channel=f"{domain}/{suffix}",
        domain=domain,
        parent=node,
        scope="gpu" if len(socket.dies) == 1 else "module",
        kind=kind,
        unit=unit,
        evidence="measured",
        node=node,
        meter="amdsmi",
        device=speaker.uuid,
        sensor=speaker.uuid,
        allocated=part.allocated,
        share=part.share,
        share_method=None if part.share is None else "dies",
        point="dc" if kind != "gauge" else None,
        update_ms=1000.0 if kind == "gauge" else None,
        extensions=extensions,
    )
