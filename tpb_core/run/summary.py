"""The manifest keys that the configuration alone gives."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tpb_core.config.schema import Point


def point_summary(point: Point) -> dict[str, Any]:
    """`load`, `config`, `choices`."""
    load = asdict(point.load)
    return {
        "load": {
            "shape": load.pop("name"),
            "parameters": load,
            "seed": point.run.seed,
            "output_length": "exact" if point.sampling.exact_output_length else "natural",
            "sampling": asdict(point.sampling),
        },
        "config": point.config,
        "choices": point.choices,
    }
