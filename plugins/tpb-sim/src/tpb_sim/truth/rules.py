"""Split rules: how the energy (or the time) of a step that does both phases is divided between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tpb_sim.steplog import TrueSteps

Floats = npt.NDArray[np.float64]


def shapley(steps: TrueSteps, whole: Floats, prefill_only: Floats, decode_only: Floats) -> Floats:
    """Prefill's part: the mean of what it adds when it comes first and when it comes last. Returns J or s for each step."""
    return 0.5 * (prefill_only + whole - decode_only)


def incremental(steps: TrueSteps, whole: Floats, prefill_only: Floats, decode_only: Floats) -> Floats:
    """Prefill's part: what it adds to the decode that runs anyway, so that decode pays for what both need."""
    return whole - decode_only


def by_token(steps: TrueSteps, whole: Floats, prefill_only: Floats, decode_only: Floats) -> Floats:
    """Prefill's part: in proportion to the tokens of the step."""
    part: Floats = whole * steps.prefill_tokens / np.maximum(steps.prefill_tokens + steps.decode_tokens, 1)
    return part


RULES: dict[str, Callable[[TrueSteps, Floats, Floats, Floats], Floats]] = {
    "shapley": shapley,
    "incremental": incremental,
    "token": by_token,
}
"""`pure` is the name of all three where a window has no mixed step, so that none of them has anything to decide."""


def split(rule: str, steps: TrueSteps, whole: Floats, prefill_only: Floats, decode_only: Floats) -> tuple[Floats, Floats]:
    """Prefill and decode part of a quantity of each step under a rule; they add up to `whole`. Pure steps are not split."""
    mixed = (steps.prefill_tokens > 0) & (steps.decode_tokens > 0)
    ruled = RULES["shapley" if rule == "pure" else rule](steps, whole, prefill_only, decode_only)
    prefill = np.where(mixed, ruled, np.where(steps.prefill_tokens > 0, whole, 0.0))
    return prefill, whole - prefill
