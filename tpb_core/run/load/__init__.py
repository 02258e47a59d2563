"""Load shapes: when requests are sent. State machines without clock or engine, so that they are the same for every engine."""

from __future__ import annotations

from tpb_core.api.errors import BadInput
from tpb_core.config.schema import (
    ClosedLoad,
    ConstantLoad,
    GammaLoad,
    LoadConfig,
    OfflineLoad,
    OpenLoad,
    PoissonLoad,
    RampLoad,
    StaticLoad,
    TraceLoad,
)
from tpb_core.run.load.closed import ClosedShape
from tpb_core.run.load.offline import OfflineShape
from tpb_core.run.load.shape import LoadShape, Send
from tpb_core.run.load.static import StaticShape

__all__ = ["LoadShape", "Send", "make_shape"]


def make_shape(load: LoadConfig, seed: int = 0) -> LoadShape:
    """The shape that a load configuration describes; arrivals are drawn from `seed`. Raises `BadInput` for values that make no load."""
    if load.requests < 1:
        raise BadInput(f"load.requests={load.requests}: at least one request is needed", "Type for example load.requests=32")
    match load:
        case StaticLoad():
            return StaticShape(load.requests, _at_least_one("batch_size", load.batch_size))
        case ClosedLoad():
            return ClosedShape(load.requests, _at_least_one("concurrency", load.concurrency), load.think_time_s)
        case OfflineLoad():
            return OfflineShape(load.requests, _at_least_one("max_concurrency", load.max_concurrency))
        case OpenLoad():
            return _open_loop(load, seed)
        case _:
            raise BadInput(f"load shape {load.name!r} has no generator")


def _open_loop(load: OpenLoad, seed: int) -> LoadShape:
    from tpb_core.run.load import arrivals  # numpy: only where arrivals are drawn
    from tpb_core.run.load.scheduled import ScheduledShape, TraceShape

    room = _at_least_one("max_concurrency", load.max_concurrency)
    for key in ("rate", "end_rate", "burstiness", "duration_s", "rate_scale"):
        value = getattr(load, key, None)
        if value is not None and not value > 0:
            raise BadInput(f"load.{key}={value}: must be above 0", f"Type for example load.{key}=2")
    match load:
        case ConstantLoad():
            return ScheduledShape(arrivals.constant(load.rate, load.requests, load.duration_s), room)
        case PoissonLoad():
            return ScheduledShape(arrivals.gamma(load.rate, 1.0, load.requests, load.duration_s, seed), room)
        case GammaLoad():
            return ScheduledShape(arrivals.gamma(load.rate, load.burstiness, load.requests, load.duration_s, seed), room)
        case RampLoad():
            if load.duration_s is None:
                raise BadInput("load=ramp needs load.duration_s", "Type for example load.duration_s=60")
            return ScheduledShape(arrivals.ramp(load.rate, load.end_rate, load.duration_s, seed), room)
        case TraceLoad():
            return TraceShape(load.requests, room, lambda times: arrivals.trace(times, load.rate_scale, load.duration_s))
        case _:
            raise BadInput(f"load shape {load.name!r} has no generator")


def _at_least_one(key: str, value: int) -> int:
    if value < 1:
        raise BadInput(f"load.{key}={value}: at least 1 is needed", f"Type for example load.{key}=4")
    return value
