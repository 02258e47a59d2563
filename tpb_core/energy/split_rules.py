"""Split rules: prefill's part of a step that does both. Three measurands, not three estimates of one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tpb_core.energy.step_work import Work

Floats = npt.NDArray[np.float64]
SplitRule = Callable[[Work, Floats, Floats, Floats], Floats]
"""(work, whole, prefill alone, decode alone) -> prefill's part, in whatever unit the three have."""


def shapley(work: Work, whole: Floats, prefill: Floats, decode: Floats) -> Floats:
    """The mean of what prefill adds when it comes first and when it comes last."""
    return 0.5 * (prefill + whole - decode)


def incremental(work: Work, whole: Floats, prefill: Floats, decode: Floats) -> Floats:
    """What prefill adds to the decode that runs anyway."""
    return whole - decode


def token(work: Work, whole: Floats, prefill: Floats, decode: Floats) -> Floats:
    """In proportion to the tokens computed."""
    return np.asarray(whole * work.prefill / np.maximum(work.prefill + work.decode, 1.0))


RULES: dict[str, SplitRule] = {"shapley": shapley, "incremental": incremental, "token": token}


def prefill_part(rule: str, work: Work, whole: Floats, prefill: Floats, decode: Floats) -> Floats:
    """Prefill's part of each step; pure steps are not split."""
    mixed = (work.prefill > 0) & (work.decode > 0)
    ruled = RULES[rule](work, whole, prefill, decode)
    return np.asarray(np.where(mixed, ruled, np.where(work.prefill > 0, whole, 0.0)))
