"""Between runs: intervals, differencing of pairs, and pools of a disaggregated engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tpb_attributors import Differencing, DifferencingConfig, Disaggregated, DisaggregatedConfig
from tpb_core.api import PreconditionFailed
from tpb_core.energy.study_intervals import mean_of, paired_difference, ratio_of
from tpb_core.testing.batch_world import BatchPlan, BatchWorld, batch_world, gpu_channel
from tpb_core.testing.memory_run import MemoryRun
from tpb_core.testing.power_world import Refresh, read_counter

COUNTER = gpu_channel("energy_counter", update_ms=100.0, delay_ms=0.0, wrap=0.0)


def test_few_runs_get_a_t_interval() -> None:
    found = mean_of(np.array([10.0, 12.0, 11.0]))
    assert found is not None
    assert (found.kind, found.dof) == ("t", 2.0)
    assert found.high - found.value == pytest.approx(4.303 * 1.0 / np.sqrt(3), rel=1e-3)
    assert mean_of(np.array([1.0])) is None


def test_ten_runs_get_a_bca_interval_that_holds_the_truth_of_a_skewed_ratio() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        tokens = rng.lognormal(6, 0.5, 30)
        joules = 2.0 * tokens * (1 + 0.1 * rng.standard_normal(30))
        found = ratio_of(joules, tokens)
        assert found is not None
        assert found.kind == "bca"
        held += found.low <= 2.0 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_pairs_cancel_what_both_runs_share() -> None:
    drift = np.array([0.0, 5.0, -3.0, 8.0])
    found = paired_difference(30 + drift, 10 + drift)
    assert found is not None
    assert (found.value, found.u) == (20.0, 0.0)


def arm(seed: int, repeat: int, decode_steps: int) -> BatchWorld:
    """One run of a study; input tokens depend on the repeat only."""
    rng = np.random.default_rng(seed)
    world = batch_world(BatchPlan(batches=10, decode_steps=decode_steps, spread=0.0, idle_s=3.0), rng)
    read = np.arange(world.read_from_s, world.read_to_s, 0.05) + rng.uniform(0, 0.05)
    run = world.run
    run.run_id = f"run{seed}-{decode_steps}"
    run.channels, run.samples = [COUNTER], {COUNTER.channel: read_counter(world.trace, read, Refresh(0.1), rng)}
    manifest: dict[str, Any] = {
        "study": {"study_id": "s", "point": f"p{decode_steps}", "arm": "0", "repeat": repeat},
        "config": {"sampling": {"max_output_tokens": decode_steps + 1}, "load": {"batch_size": 4}},
    }
    run.manifest = manifest
    run.tables["requests"]["input_tokens"] = np.full(40, 100 + repeat)
    return world


def one_token(world: BatchWorld) -> BatchWorld:
    """The same work stopped after the first token."""
    assert set(world.run.tables["requests"]["output_tokens"]) == {1}
    return world


def study(pairs: int) -> tuple[list[MemoryRun], list[BatchWorld], list[BatchWorld]]:
    many = [arm(k, k, 30) for k in range(pairs)]
    single = [one_token(arm(100 + k, k, 0)) for k in range(pairs)]
    return [w.run for w in (*many, *single)], many, single


def test_differencing_gives_the_phases_of_the_pairs() -> None:
    runs, many, single = study(4)
    (ledger,) = Differencing(DifferencingConfig()).attribute(runs)
    rows = {r.phase: r for r in ledger.energy if (r.domain, r.basis) == ("total", "gross")}
    assert (ledger.point, ledger.arm) == ("p30", "0")
    total = np.mean([w.truth["total"] for w in many])
    assert rows["total"].joules == pytest.approx(total, rel=2e-3)
    expected = np.mean([w.truth["total"] for w in many]) - np.mean([w.truth["total"] for w in single])
    assert rows["decode"].joules == pytest.approx(expected, rel=0.05)
    assert rows["decode"].ci_kind == "between_runs"
    assert rows["decode"].dof == pytest.approx(3.0, rel=0.05)
    parts = [rows[p].joules or 0.0 for p in ("prefill", "decode", "idle", "unattributed")]
    assert sum(parts) == pytest.approx(rows["total"].joules, rel=1e-9)


def test_too_few_pairs_different_work_and_reused_prompts_are_refused_by_name() -> None:
    runs, _, _ = study(2)
    with pytest.raises(PreconditionFailed, match="pairs"):
        Differencing(DifferencingConfig()).attribute(runs)
    runs, _, _ = study(3)
    runs[0].tables["requests"]["input_tokens"] = np.full(40, 7)
    with pytest.raises(PreconditionFailed, match="same_work"):
        Differencing(DifferencingConfig()).attribute(runs)
    with pytest.raises(PreconditionFailed, match="arms"):
        Differencing(DifferencingConfig()).attribute(runs[:3])
    runs[0].manifest = {**runs[0].manifest, "engine": {"prefix_cache": True}}
    with pytest.raises(PreconditionFailed, match="prefix_cache"):
        Differencing(DifferencingConfig()).attribute(runs)


def pools(seed: int) -> tuple[MemoryRun, BatchWorld]:
    rng = np.random.default_rng(seed)
    world = batch_world(BatchPlan(batches=10, decode_steps=30, idle_s=3.0), rng)
    read = np.arange(world.read_from_s, world.read_to_s, 0.05)
    series = read_counter(world.trace, read, Refresh(0.1), rng)
    run = world.run
    other = replace(COUNTER, channel="n0/gpu1/energy", domain="n0/gpu1", device="GPU-1", sensor="GPU-1")
    run.channels, run.samples = [COUNTER, other], {COUNTER.channel: series, other.channel: series}
    instances = [{"instance": "p", "role": "prefill", "devices": ["GPU-0"]}, {"instance": "d", "role": "decode", "devices": ["GPU-1"]}]
    run.manifest = {"engine": {"instances": instances}}
    run.tables["steps"]["instance"] = np.where(run.tables["steps"]["prefill_tokens"] > 0, "p", "d")
    return run, world


def test_each_pool_tells_its_phase() -> None:
    run, world = pools(0)
    (ledger,) = Disaggregated(DisaggregatedConfig()).attribute([run])
    rows = {(r.domain, r.phase): r.joules for r in ledger.energy if (r.window, r.basis) == ("measure", "gross")}
    assert rows["n0/gpu0", "prefill"] == pytest.approx(world.truth["prefill"], rel=0.05)
    assert rows["n0/gpu0", "decode"] == 0.0
    assert rows["n0/gpu1", "decode"] == pytest.approx(world.truth["decode"], rel=0.02)
    assert rows["total", "prefill"] == pytest.approx(world.truth["prefill"], rel=0.05)


def test_an_engine_without_pools_is_refused_by_name() -> None:
    run, _ = pools(1)
    run.manifest = {"engine": {"instances": [{"instance": "p", "role": "mixed", "devices": ["GPU-0"]}]}}
    with pytest.raises(PreconditionFailed, match="pools"):
        Disaggregated(DisaggregatedConfig()).attribute([run])
