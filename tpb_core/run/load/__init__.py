"""Load shapes: when requests are sent. State machines without clock or engine, so that they are the same for every engine."""

from __future__ import annotations

from tpb_core.api.errors import BadInput
from tpb_core.config.schema import ClosedLoad, LoadConfig, OfflineLoad, StaticLoad
from tpb_core.run.load.closed import ClosedShape
from tpb_core.run.load.offline import OfflineShape
from tpb_core.run.load.shape import LoadShape, Send
from tpb_core.run.load.static import StaticShape

__all__ = ["LoadShape", "Send", "make_shape"]


def make_shape(load: LoadConfig) -> LoadShape:
    """The shape that a load configuration describes. Raises `BadInput` for values that make no load."""
    if load.requests < 1:
        raise BadInput(f"load.requests={load.requests}: at least one request is needed", "Type for example load.requests=32")
    match load:
        case StaticLoad():
            return StaticShape(load.requests, _at_least_one("batch_size", load.batch_size))
        case ClosedLoad():
            return ClosedShape(load.requests, _at_least_one("concurrency", load.concurrency), load.think_time_s)
        case OfflineLoad():
            return OfflineShape(load.requests, _at_least_one("max_concurrency", load.max_concurrency))
        case _:
            raise BadInput(f"load shape {load.name!r} has no generator")


def _at_least_one(key: str, value: int) -> int:
    if value < 1:
        raise BadInput(f"load.{key}={value}: at least 1 is needed", f"Type for example load.{key}=4")
    return value
