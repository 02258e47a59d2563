"""Cost models by name. A model is a frozen dataclass; its numbers can be replaced by name (`seconds.busy`, `cap_w`)."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any

from tpb_core.api import BadInput
from tpb_sim.cost.model import Affine, AffineTerms, CostModel, StaticPower
from tpb_sim.cost.physics import GrowingAttention, MixtureOfExperts, PowerCapped, Roofline, Warming
from tpb_sim.cost.work import StepCost, Work

COST_MODELS: dict[str, Callable[[], CostModel]] = {
    "affine": Affine,
    "roofline": Roofline,
    "attention": GrowingAttention,
    "power_cap": PowerCapped,
    "experts": MixtureOfExperts,
    "warming": Warming,
}
"""`affine` is what attributors fit; all others lie outside that family."""


def cost_model(name: str, parameters: Mapping[str, float] | None = None) -> CostModel:
    """The named cost model with some of its numbers replaced. Raises `BadInput` for an unknown name or number."""
    if name not in COST_MODELS:
        near = difflib.get_close_matches(name, COST_MODELS)
        raise BadInput(
            f"there is no cost model {name!r}", f"Known: {', '.join(COST_MODELS)}.", [f"Did you mean {near[0]!r}?"] if near else []
        )
    model: Any = COST_MODELS[name]()
    for path, value in (parameters or {}).items():
        model = _replaced(model, path.split("."), value, name)
    built: CostModel = model
    return built


def _replaced(model: Any, path: list[str], value: float, name: str) -> Any:
    known = [f.name for f in dataclasses.fields(model)]
    if path[0] not in known or (len(path) > 1) != dataclasses.is_dataclass(getattr(model, path[0], None)):
        raise BadInput(
            f"cost model {name!r} has no number {'.'.join(path)!r}", f"It has: {', '.join(known)} (parts of a part by a dot: seconds.busy)."
        )
    inner = _replaced(getattr(model, path[0]), path[1:], value, name) if len(path) > 1 else value
    return dataclasses.replace(model, **{path[0]: inner})


__all__ = [
    "COST_MODELS", "Affine", "AffineTerms", "CostModel", "GrowingAttention", "MixtureOfExperts", "PowerCapped", "Roofline", "StaticPower",
    "StepCost", "Warming", "Work", "cost_model",
]  # fmt: skip
