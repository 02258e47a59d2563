"""`steps` under continuous batching: every rule's own truth, inside and outside the fitted family; ledgers close; refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tpb_attributors import Steps, StepsConfig, Totals, TotalsConfig
from tpb_core.api import BadInput, Channel, EnergyRow, Ledger, PreconditionFailed
from tpb_core.energy.blocks import blocks_of
from tpb_core.energy.durations import fit_durations
from tpb_core.energy.step_work import Work
from tpb_core.testing.batch_world import gpu_channel
from tpb_core.testing.power_world import Refresh, read_counter, read_power
from tpb_core.testing.serving_world import Cost, ServingWorld, affine, power_cap, roofline, serving_world

COUNTER = gpu_channel("energy_counter", update_ms=100.0, delay_ms=0.0, wrap=0.0)
DUTY = gpu_channel("power", update_ms=100.0, delay_ms=0.0, averaging_ms=25.0)


def metered(cost: Cost, seed: int, channel: Channel = COUNTER, poll_s: float = 0.03, requests: int = 200) -> ServingWorld:
    rng = np.random.default_rng(seed)
    world = serving_world(cost, rng, requests)
    read = np.arange(world.read_from_s, world.read_to_s, poll_s) + rng.uniform(0, poll_s)
    refresh = Refresh(0.1, spread_s=0.002)
    series = (
        read_counter(world.trace, read, refresh, rng)
        if channel.kind == "energy_counter"
        else read_power(world.trace, read, refresh, 0.025, rng)
    )
    world.run.channels, world.run.samples = [channel], {channel.channel: series}
    return world


def rows(ledger: Ledger, basis: str = "gross") -> dict[str, EnergyRow]:
    return {r.phase: r for r in ledger.energy if (r.window, r.domain, r.basis) == ("measure", "total", basis)}


@pytest.mark.parametrize("cost", [affine, roofline, power_cap], ids=lambda cost: cost.__name__)
def test_each_rule_finds_its_own_truth(cost: Cost) -> None:
    world = metered(cost, 1)
    for ledger in Steps(StepsConfig()).attribute([world.run]):
        found = rows(ledger)
        rule = ledger.method.removeprefix("steps/")
        for phase in ("prefill", "decode"):
            truth, row = world.truth[rule, phase], found[phase]
            assert row.joules == pytest.approx(truth, rel=0.02), (rule, phase)
            assert row.ci_low_j is not None
            assert row.ci_high_j is not None
            assert row.ci_low_j - 0.005 * truth <= truth <= row.ci_high_j + 0.005 * truth, (rule, phase)
        assert found["total"].joules == pytest.approx(world.truth["any", "total"], rel=5e-3)


def test_ledgers_close_and_requests_add_up() -> None:
    world = metered(affine, 2, requests=80)
    for ledger in Steps(StepsConfig()).attribute([world.run]):
        for basis in ("gross", "net_loaded"):
            found = rows(ledger, basis)
            parts = [found[p].joules for p in ("prefill", "decode", "idle", "unattributed")]
            assert sum(p for p in parts if p is not None) == pytest.approx(found["total"].joules, rel=1e-9)
            table = ledger.request_energy
            mine = (table["window"] == "measure") & (table["basis"] == basis)
            for phase in ("prefill", "decode", "idle"):
                assert table[f"{phase}_j"][mine].sum() == pytest.approx(found[phase].joules, rel=1e-9, abs=1e-6)


def test_the_total_of_a_window_does_not_depend_on_the_method() -> None:
    world = metered(affine, 4, requests=80)
    by_steps = Steps(StepsConfig()).attribute([world.run])
    by_totals = Totals(TotalsConfig()).attribute([world.run])
    for ledger in by_steps:
        for basis in ("gross", "net_loaded"):
            assert rows(ledger, basis)["total"] == replace(rows(by_totals[0], basis)["total"], method=ledger.method)


def test_a_long_prompt_pays_for_itself() -> None:
    world = metered(affine, 3)
    ledger = Steps(StepsConfig(rules=["shapley"])).attribute([world.run])[0]
    table = ledger.request_energy
    mine = (table["window"] == "measure") & (table["basis"] == "gross") & (table["request"] >= 0)
    prompts = world.run.tables["requests"]["input_tokens"][table["request"][mine]]
    assert np.corrcoef(prompts, table["prefill_j"][mine])[0, 1] > 0.9


def test_time_of_a_mixed_step_is_split_by_the_same_rule_so_that_net_closes() -> None:
    world = metered(affine, 4)
    ledger = Steps(StepsConfig(rules=["shapley"])).attribute([world.run])[0]
    gross, net = rows(ledger), rows(ledger, "net_loaded")
    window = world.run.windows[1]
    removed = sum((gross[p].joules or 0.0) - (net[p].joules or 0.0) for p in ("prefill", "decode", "idle"))
    assert removed == pytest.approx(120.0 * window.duration_s, rel=2e-3)


def test_a_meter_that_cannot_tell_gives_null_and_says_what_to_vary() -> None:
    world = metered(affine, 5)
    ledger = Steps(StepsConfig(rules=["shapley"], largest_u_share=1e-5)).attribute([world.run])[0]
    assert rows(ledger)["prefill"].reason == "uncertainty_too_large"
    assert "batch size" in ledger.parameters["vary"]
    assert rows(ledger)["total"].joules is not None


def test_fit_factor_is_metered_over_fitted() -> None:
    world = metered(affine, 6)
    ledger = Steps(StepsConfig(rules=["shapley"])).attribute([world.run])[0]
    factor = next(r for r in ledger.validity if r.check == "fit_factor" and r.window == "measure")
    assert factor.value == pytest.approx(1.0, abs=0.02)
    assert factor.value != 1.0


def test_no_step_log_is_refused_by_name_and_a_rule_that_does_not_exist_is_bad_input() -> None:
    world = metered(affine, 7, requests=30)
    with pytest.raises(BadInput, match="fair"):
        StepsConfig(rules=["fair"])
    del world.run.tables["steps"]
    world.run.members = None
    with pytest.raises(PreconditionFailed, match="no_step_log"):
        Steps(StepsConfig()).attribute([world.run])


def test_unknown_members_leave_phases_but_no_requests() -> None:
    world = metered(affine, 8, requests=60)
    world.run.members = None
    ledger = Steps(StepsConfig(rules=["shapley"])).attribute([world.run])[0]
    assert rows(ledger)["prefill"].joules is not None
    assert not ledger.request_energy


def test_durations_tell_memory_from_compute_time() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    prefill = np.where(rng.random(n) < 0.4, rng.integers(20, 600, n), 0).astype(float)
    decode, kv = rng.integers(1, 16, n).astype(float), rng.integers(500, 9000, n).astype(float)
    pairs = prefill**2 / 2
    seconds = roofline(prefill, decode, kv, pairs)[0]
    work = Work(prefill, decode, kv, np.zeros(n), pairs, seconds, np.zeros(n))
    best = fit_durations(work, rng)[0]
    assert best.name == "larger"
    alone = best.alone(work)
    both = prefill > 300
    truth = roofline(np.zeros(n), decode, kv, np.zeros(n))[0]
    np.testing.assert_allclose(alone[1][both], truth[both], rtol=0.03)


def test_blocks_are_least_squares_with_non_negative_coefficients() -> None:
    rng = np.random.default_rng(1)
    design = rng.random((500, 3))
    values = design @ np.array([2.0, 0.0, 5.0]) + rng.normal(0, 0.01, 500)
    blocks = blocks_of(design, values, np.ones(500), 10)
    np.testing.assert_allclose(blocks.fit(), [2.0, 0.0, 5.0], atol=0.01)
    assert (blocks.fit() >= 0).all()
    residual = values - design @ blocks.fit()
    assert blocks.misfit(blocks.fit()).sum() == pytest.approx(float(residual @ residual), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("cost", [affine, roofline, power_cap], ids=lambda cost: cost.__name__)
def test_intervals_of_phases_hold_the_truth_outside_the_fitted_family(cost: Cost) -> None:
    held: list[bool] = []
    widths: list[float] = []
    for seed in range(40):
        world = metered(cost, 100 + seed, requests=100)
        ledger = Steps(StepsConfig(rules=["shapley"], draws=60)).attribute([world.run])[0]
        for phase in ("prefill", "decode"):
            row, truth = rows(ledger)[phase], world.truth["shapley", phase]
            if row.joules is None or row.ci_low_j is None or row.ci_high_j is None:
                continue
            held.append(row.ci_low_j <= truth <= row.ci_high_j)
            widths.append((row.ci_high_j - row.ci_low_j) / 2 / truth)
    print(f"{cost.__name__}: held {np.mean(held):.3f} of {len(held)}, half width {np.mean(widths):.4f}")
    assert len(held) >= 72
    assert np.mean(held) >= 0.90
    assert np.mean(widths) < 0.02


def test_a_duty_cycle_sensor_works_too() -> None:
    world = metered(affine, 9, DUTY)
    found = rows(Steps(StepsConfig(rules=["shapley"])).attribute([world.run])[0])
    assert found["prefill"].joules == pytest.approx(world.truth["shapley", "prefill"], rel=0.1)
    world.run.channels = [replace(DUTY, averaging_ms=None)]
    assert rows(Steps(StepsConfig(rules=["shapley"])).attribute([world.run])[0])["prefill"].reason == "averaging_unknown"


def test_too_few_draws_are_refused() -> None:
    with pytest.raises(BadInput, match=r"attributor\.steps\.draws: 3 sets"):
        StepsConfig(draws=3)
