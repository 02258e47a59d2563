"""Cost models outside the family that attributors fit: bounds, attention that grows with position, a power cap, experts, warming chips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tpb_sim.cost.model import Affine, StaticPower
from tpb_sim.cost.work import StepCost, Work

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Roofline:
    """Step time is the larger of memory time and compute time; energy is what bytes and operations take. An 8B model on an H100."""

    weight_bytes: float = 16e9
    kv_bytes_per_token: float = 131072.0
    flops_per_token: float = 16e9
    flops_per_pair: float = 524288.0
    bytes_per_s: float = 2.6e12
    flops_per_s: float = 4.0e14
    launch_s: float = 0.6e-3
    joules_per_byte: float = 80e-12
    joules_per_flop: float = 1.1e-12
    launch_j: float = 0.05
    static: StaticPower = StaticPower()  # noqa: RUF009 - frozen

    def weight_traffic_bytes(self, work: Work) -> float:
        """Bytes of weights that the step reads: all of them, once."""
        return self.weight_bytes

    def step(self, work: Work) -> StepCost:
        """max(bytes / bandwidth, operations / peak) + launch."""
        tokens = work.computed_prefill_tokens + work.computed_decode_tokens
        read_bytes = self.weight_traffic_bytes(work) + self.kv_bytes_per_token * (work.kv_tokens + work.prefill_kv_tokens)
        flops = self.flops_per_token * tokens + self.flops_per_pair * (work.prefill_pairs + work.kv_tokens)
        duration_s = max(read_bytes / self.bytes_per_s, flops / self.flops_per_s) + self.launch_s
        return StepCost(duration_s, self.launch_j + self.joules_per_byte * read_bytes + self.joules_per_flop * flops)

    def member_weights(
        self, prefill_tokens: npt.NDArray[Any], decode_tokens: npt.NDArray[Any], kv_tokens: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Operations and KV reads of each member; the weights' bytes are shared."""
        kv_j = self.joules_per_byte * self.kv_bytes_per_token
        token_j, pair_j = self.joules_per_flop * self.flops_per_token, self.joules_per_flop * self.flops_per_pair
        pairs = prefill_tokens * (kv_tokens + (prefill_tokens + 1) / 2.0)
        prefill = token_j * prefill_tokens + pair_j * pairs + kv_j * kv_tokens * (prefill_tokens > 0)
        decode = token_j * decode_tokens + (pair_j + kv_j) * kv_tokens * (decode_tokens > 0)
        return prefill, decode


@dataclass(frozen=True)
class MixtureOfExperts(Roofline):
    """Weight traffic saturates with the tokens of a step: n tokens touch experts * (1 - (1 - chosen / experts)^n) experts a layer."""

    weight_bytes: float = 4e9
    expert_bytes: float = 0.72e9
    """Bytes of one expert in all layers."""
    experts: int = 64
    chosen: int = 4
    flops_per_token: float = 12e9

    def weight_traffic_bytes(self, work: Work) -> float:
        """Dense weights and the experts that at least one token chose (tokens choose independently)."""
        tokens = work.computed_prefill_tokens + work.computed_decode_tokens
        touched = self.experts * (1.0 - (1.0 - self.chosen / self.experts) ** tokens)
        return self.weight_bytes + self.expert_bytes * touched


@dataclass(frozen=True)
class GrowingAttention(Affine):
    """Affine, and attention in prefill grows with the position: each query-key pair takes time and energy of its own."""

    pair_s: float = 0.12e-6
    pair_j: float = 60e-6

    def step(self, work: Work) -> StepCost:
        """The affine terms and the pairs."""
        base = super().step(work)
        return StepCost(base.duration_s + self.pair_s * work.prefill_pairs, base.joules + self.pair_j * work.prefill_pairs)

    def member_weights(
        self, prefill_tokens: npt.NDArray[Any], decode_tokens: npt.NDArray[Any], kv_tokens: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Affine parts and each member's own pairs."""
        prefill, decode = super().member_weights(prefill_tokens, decode_tokens, kv_tokens)
        return prefill + self.pair_j * prefill_tokens * (kv_tokens + (prefill_tokens + 1) / 2.0), decode


@dataclass(frozen=True)
class PowerCapped(Affine):
    """Affine until the device would draw more than `cap_w`; then the step is stretched so that it draws just that."""

    cap_w: float = 450.0

    def step(self, work: Work) -> StepCost:
        """Energy above static stays, the duration grows to energy / (cap - static)."""
        base = super().step(work)
        return StepCost(max(base.duration_s, base.joules / (self.cap_w - self.static.loaded_w)), base.joules)


@dataclass(frozen=True)
class Warming(Affine):
    """Affine, and static power drifts with the temperature that the load itself makes."""

    static: StaticPower = StaticPower(rise=0.12, tau_s=25.0)  # noqa: RUF009 - frozen
