"""Energy of idle gaps between steps: what runs beside a gap does not pull it, though it is rare, short or unlike the other steps."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_attributors import Steps, StepsConfig
from tpb_core.api import EnergyRow, Window
from tpb_core.testing.batch_world import gpu_channel
from tpb_core.testing.memory_run import MemoryRun, members_of
from tpb_core.testing.power_world import PowerTrace, Refresh, read_counter

COUNTER = gpu_channel("energy_counter", update_ms=100.0, delay_ms=0.0, wrap=0.0)
BEGIN_S = 1004.0
STATIC_W = 120.0

Step = tuple[float, int, int]
"""Seconds, prefill tokens, decode tokens. A step costs 3 J, 0.05 J a prompt token and 0.5 J a decoded one above static power."""


def idle_row(bursts: list[tuple[float, list[Step]]], rng: np.random.Generator, scatter: float = 0.0) -> tuple[EnergyRow, float]:
    """What `steps` says of idle energy where each burst of steps follows a gap of so many seconds, and the truth: 120 W times the gaps.

    Steps of the same work differ by the relative standard deviation `scatter`.
    """
    t_s = BEGIN_S
    edges, watts = [BEGIN_S - 4.0], []
    log: list[tuple[float, float, int, int]] = []
    for gap_s, steps in bursts:
        for seconds, prefill, decode, joules in (
            (gap_s, 0, 0, 0.0),
            *((seconds, prefill, decode, 3.0 + 0.05 * prefill + 0.5 * decode) for seconds, prefill, decode in steps),
        ):
            edges.append(t_s)
            watts.append(STATIC_W if joules == 0.0 else STATIC_W + joules * (1 + scatter * rng.standard_normal()) / seconds)
            if joules:
                log.append((t_s, t_s + seconds, prefill, decode))
            t_s += seconds
    trace = PowerTrace(np.array([*edges, t_s, t_s + 4.0]), np.array([STATIC_W, *watts, STATIC_W]))
    t0_s, t1_s, prefill_tokens, decode_tokens = (np.array(column) for column in zip(*log, strict=True))
    steps_table = {
        "step": np.arange(len(log)), "t0_ns": np.round(t0_s * 1e9).astype(np.int64), "t1_ns": np.round(t1_s * 1e9).astype(np.int64),
        "prefill_tokens": prefill_tokens.astype(np.int32), "decode_tokens": decode_tokens.astype(np.int32),
    }  # fmt: skip
    begin_ns, end_ns = round(BEGIN_S * 1e9), round(t_s * 1e9)
    windows = [
        Window("idle_loaded_before", begin_ns - 4 * 10**9, begin_ns),
        Window("measure", begin_ns, end_ns),
        Window("idle_loaded_after", end_ns, end_ns + 4 * 10**9),
    ]
    members = members_of([[(0, prefill, decode, 1, 0)] for _, _, prefill, decode in log])
    run = MemoryRun("gaps", {}, [COUNTER], windows, {}, {"steps": steps_table}, members)
    read_s = np.arange(BEGIN_S - 4.5, t_s + 5.0, 0.03) + rng.uniform(0, 0.03)
    run.samples = {COUNTER.channel: read_counter(trace, read_s, Refresh(0.1, spread_s=0.0005), rng)}
    ledger = Steps(StepsConfig(rules=["shapley"])).attribute([run])[0]
    found = [r for r in ledger.energy if (r.window, r.domain, r.basis, r.phase) == ("measure", "total", "gross", "idle")]
    return found[0], STATIC_W * sum(gap_s for gap_s, _ in bursts)


def heavy(rng: np.random.Generator, count: int) -> list[Step]:
    """Decode steps of 8 to 16 sequences, 470 to 670 W."""
    return [(float(rng.uniform(0.019, 0.021)), 0, int(rng.integers(8, 17))) for _ in range(count)]


@pytest.mark.parametrize("seed", range(3))
def test_a_light_step_beside_each_gap_does_not_make_the_gap_cheaper(seed: int) -> None:
    """One step in 150 draws 207 W, a fifth of what the lightest of the others adds; it lies beside a gap every time."""
    rng = np.random.default_rng(seed)
    bursts = [(float(rng.uniform(0.05, 0.25)), [(0.04, 0, 1), *heavy(rng, int(rng.integers(140, 160)))]) for _ in range(30)]
    row, truth = idle_row(bursts, rng)
    assert row.joules == pytest.approx(truth, rel=0.005)


@pytest.mark.parametrize("seed", range(3))
def test_few_prompts_that_differ_beside_the_gaps_do_not_move_them(seed: int) -> None:
    """Ten prompts of 100 to 2000 tokens draw 295 to 545 W, each after a gap: too few to be called usual, unlike enough to be told."""
    rng = np.random.default_rng(10 + seed)
    sizes = [int(size) for size in rng.permutation(np.linspace(100, 2000, 10))]
    bursts = [(float(rng.uniform(0.05, 0.25)), [(0.04 + 1e-4 * size, size, 0), *heavy(rng, 150)]) for size in sizes]
    row, truth = idle_row(bursts, rng)
    assert row.joules == pytest.approx(truth, rel=0.02)


def test_intervals_of_few_short_gaps_hold_although_the_fit_bends_to_the_readings_that_show_them() -> None:
    """Two gaps of 10 to 30 ms in 20 s of steps that differ by 10 %: two to four readings tell of them."""
    held: list[bool] = []
    for seed in range(60):
        rng = np.random.default_rng(100 + seed)
        bursts = [(float(rng.uniform(0.01, 0.03)), heavy(rng, int(rng.integers(480, 520)))) for _ in range(2)]
        row, truth = idle_row(bursts, rng, scatter=0.1)
        assert row.ci_low_j is not None
        assert row.ci_high_j is not None
        held.append(row.ci_low_j <= truth <= row.ci_high_j)
    assert np.mean(held) >= 0.9
