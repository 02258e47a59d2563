"""Cost models by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_core.api import BadInput
from tpb_sim.cost import (
    COST_MODELS,
    Affine,
    AffineTerms,
    GrowingAttention,
    MixtureOfExperts,
    PowerCapped,
    Roofline,
    StaticPower,
    Work,
    cost_model,
)

MIXED = Work(prefill_tokens=100, prefill_kv_tokens=50, prefill_pairs=100 * 50 + 5050, decode_tokens=4, kv_tokens=1000)
TERMS = AffineTerms(busy=1.0, prefill=0.1, decode=2.0, kv=0.001, prefill_kv=0.01)


def test_affine_terms() -> None:
    cost = Affine(TERMS, TERMS).step(MIXED)
    assert cost == pytest.approx((1 + 10 + 8 + 1 + 0.5, 20.5))
    assert Affine(TERMS, TERMS).step(MIXED.prefill_only()).joules == pytest.approx(1 + 10 + 0.5)
    assert Affine(TERMS, TERMS).step(MIXED.decode_only()).joules == pytest.approx(1 + 8 + 1)


def test_padding_costs_time_and_energy() -> None:
    padded = MIXED._replace(prefill_padding_tokens=10, decode_padding_tokens=1)
    assert Affine(TERMS, TERMS).step(padded).joules == pytest.approx(20.5 + 1.0 + 2.0)


def test_roofline_takes_the_larger_of_the_two_times() -> None:
    model = Roofline(weight_bytes=1e9, kv_bytes_per_token=1e6, flops_per_token=1e9, flops_per_pair=0.0, bytes_per_s=1e12, flops_per_s=1e12,
                     launch_s=0.0)  # fmt: skip
    assert model.step(Work(decode_tokens=1, kv_tokens=1000)).duration_s == pytest.approx(2e-3)  # 2 GB at 1 TB/s beat 1 GFLOP
    assert model.step(Work(prefill_tokens=100)).duration_s == pytest.approx(0.1)  # 100 GFLOP beat 1 GB


def test_attention_grows_with_the_square_of_the_prompt() -> None:
    model = GrowingAttention(TERMS, TERMS, pair_s=1e-3, pair_j=1e-2)
    short, long = (model.step(Work(prefill_tokens=n, prefill_pairs=n * (n + 1) // 2)) for n in (100, 200))
    assert short.duration_s == pytest.approx(1 + 10 + 5.05)
    assert long.duration_s == pytest.approx(1 + 20 + 20.1)


def test_a_capped_step_draws_the_cap() -> None:
    model = PowerCapped(TERMS, AffineTerms(1000.0, 100.0, 0.0, 0.0, 0.0), StaticPower(loaded_w=100.0), cap_w=300.0)
    cost = model.step(Work(prefill_tokens=100))
    assert cost.joules / cost.duration_s == pytest.approx(200.0)
    assert cost.duration_s == pytest.approx(11000.0 / 200.0)


def test_experts_saturate() -> None:
    model = MixtureOfExperts(weight_bytes=0.0, expert_bytes=1.0, experts=10, chosen=1)
    assert model.weight_traffic_bytes(Work(decode_tokens=1)) == pytest.approx(1.0)
    assert model.weight_traffic_bytes(Work(decode_tokens=2)) == pytest.approx(1.9)
    assert model.weight_traffic_bytes(Work(prefill_tokens=1000)) == pytest.approx(10.0)


@pytest.mark.parametrize("name", sorted(COST_MODELS))
def test_weights_of_members_are_their_own_work(name: str) -> None:
    prefill, decode = COST_MODELS[name]().member_weights(
        np.array([100.0, 200.0, 0.0]), np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 500.0])
    )
    assert prefill[1] >= 2 * prefill[0] > 0  # twice the prompt costs at least twice as much
    assert prefill[2] == 0
    assert decode.tolist()[:2] == [0.0, 0.0]
    assert decode[2] > 0


def test_parameters_by_name() -> None:
    model = cost_model("power_cap", {"cap_w": 400.0, "seconds.busy": 0.01, "static.loaded_w": 90.0})
    assert isinstance(model, PowerCapped)
    assert (model.cap_w, model.seconds.busy, model.static.loaded_w) == (400.0, 0.01, 90.0)
    for bad in ("seconds", "seconds.bsy", "caps", "cap_w.x"):
        with pytest.raises(BadInput, match="has no number"):
            cost_model("power_cap", {bad: 1.0})
    with pytest.raises(BadInput, match="no cost model"):
        cost_model("rofline")
