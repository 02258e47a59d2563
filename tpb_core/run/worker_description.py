"""The options of an engine as the worker's interpreter knows them: how the session composes for an engine that it cannot import."""

from __future__ import annotations

import dataclasses
from typing import Any

from tpb_core import drivers
from tpb_core.api.versions import WORKER_PROTOCOL


def describe_engine(name: str) -> dict[str, Any]:
    """`{"protocol", "distribution", "version", "options": [{name, type, default, unit, help, choices, secret}]}`, all JSON values."""
    engine_class = drivers.load("tpb.engines", name)
    plugin = drivers.find("tpb.engines", name)
    options = []
    for field in dataclasses.fields(engine_class.config_class):
        default = field.default if field.default is not dataclasses.MISSING else None
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        options.append({"name": field.name, "type": str(field.type), "default": default, **field.metadata})
    return {"protocol": WORKER_PROTOCOL, "distribution": plugin.distribution, "version": plugin.version, "options": options}
