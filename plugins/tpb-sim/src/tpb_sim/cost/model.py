"""What a cost model is: duration and energy of any step, a weight for each member, and the static power below it all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from tpb_sim.cost.work import StepCost, Work

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class StaticPower:
    """Power of a device that runs no step.

    `loaded_w` while a model is loaded, `bare_w` before. With `rise` above 0 the chip warms: the excess x over `loaded_w` follows
    dx/dt = (rise * step power - x) / tau_s, so that static power drifts with the load (leakage grows with temperature).
    """

    loaded_w: float = 120.0
    bare_w: float = 70.0
    rise: float = 0.0
    tau_s: float = 20.0


class CostModel(Protocol):
    """The physics of a simulated device. Everything true is computed from it; attributors never see it."""

    @property
    def static(self) -> StaticPower:
        """Static power of each device of an instance."""

    def step(self, work: Work) -> StepCost:
        """Duration in s and energy above static power in J of one step on an instance (all its devices together)."""

    def member_weights(
        self, prefill_tokens: npt.NDArray[Any], decode_tokens: npt.NDArray[Any], kv_tokens: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Joules that each member's own tokens and KV reads add in prefill and in decode.

        A step's phase energy is divided among its members in proportion; what they share (weights, launch) follows the same shares.
        """


@dataclass(frozen=True)
class AffineTerms:
    """Five numbers for a quantity that is affine in the work: what the fitted family of attributors can express."""

    busy: float
    prefill: float
    decode: float
    kv: float
    prefill_kv: float

    def of(self, work: Work) -> float:
        """The quantity for one step."""
        return (
            self.busy
            + self.prefill * work.computed_prefill_tokens
            + self.decode * work.computed_decode_tokens
            + self.kv * work.kv_tokens
            + self.prefill_kv * work.prefill_kv_tokens
        )

    def weights(
        self, prefill_tokens: npt.NDArray[Any], decode_tokens: npt.NDArray[Any], kv_tokens: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Each member's own part of the prefill terms and of the decode terms."""
        prefill = self.prefill * prefill_tokens + self.prefill_kv * kv_tokens * (prefill_tokens > 0)
        decode = self.decode * decode_tokens + self.kv * kv_tokens * (decode_tokens > 0)
        return prefill, decode


EAGER_8B_SECONDS = AffineTerms(busy=18e-3, prefill=120e-6, decode=100e-6, kv=0.2e-6, prefill_kv=0.2e-6)
EAGER_8B_JOULES = AffineTerms(busy=3.4, prefill=64e-3, decode=150e-3, kv=0.25e-3, prefill_kv=0.25e-3)
"""Roughly an 8B model in 16 bit on one H100 without graph capture: 8k prefill tokens/s at 600 W, decode steps of 19 ms at 350 W."""


@dataclass(frozen=True)
class Affine:
    """Base of the models that begin with the affine terms."""

    seconds: AffineTerms = field(default=EAGER_8B_SECONDS)
    joules: AffineTerms = field(default=EAGER_8B_JOULES)
    static: StaticPower = field(default=StaticPower())

    def step(self, work: Work) -> StepCost:
        """Affine in the work, in time and in energy."""
        return StepCost(self.seconds.of(work), self.joules.of(work))

    def member_weights(
        self, prefill_tokens: npt.NDArray[Any], decode_tokens: npt.NDArray[Any], kv_tokens: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Each member's own affine terms."""
        return self.joules.weights(prefill_tokens, decode_tokens, kv_tokens)
