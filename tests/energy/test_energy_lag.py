"""Slow node meters: lag, gain and offset recovered against in-band power; node energy within its stated uncertainty."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_attributors import Totals, TotalsConfig
from tpb_core.api import Channel, Window
from tpb_core.energy.run_energy import RunEnergy
from tpb_core.testing.batch_world import gpu_channel
from tpb_core.testing.memory_run import MemoryRun, Series
from tpb_core.testing.power_world import PowerTrace, Refresh, read_counter, read_power

NODE = Channel("n0/bmc", "n0", "node", "power", "W", "measured", update_ms=1000.0, resolution=8.0, gain_u_rel=0.02, offset_u_w=5.0)
GPU = gpu_channel("energy_counter", update_ms=100.0, delay_ms=0.0, wrap=0.0)


def run_with_lag(seed: int, lag_s: float = 2.3) -> tuple[MemoryRun, PowerTrace]:
    """Bursts of 3 to 9 s of work; the node draws 150 W and 1.08 times the device, told 2.3 s late in steps of 8 W."""
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(3.0, 9.0, 30)
    edges = np.concatenate([[0.0], 20.0 + np.concatenate([[0.0], np.cumsum(lengths)])])
    watts = np.concatenate([[90.0], np.where(np.arange(30) % 2 == 0, 420.0, 120.0) + rng.normal(0, 10, 30)])
    end = float(edges[-1])
    device = PowerTrace(np.concatenate([edges, [end + 20.0]]), np.concatenate([watts, [90.0]]))
    node = PowerTrace(device.edge_s, 150.0 + 1.08 * device.watts)
    fast, slow = np.arange(-1.0, end + 19.0, 0.05), np.arange(-1.0, end + 19.0, 1.0) + rng.uniform(0, 1)
    told = read_power(node, slow, Refresh(1.0, lag_s), 1.0, rng)
    windows = [Window("idle_loaded_before", 10**9, 20 * 10**9), Window("measure", 20 * 10**9, int(end * 1e9))]
    rounded = Series(told.t_ns, told.half_width_ns, np.round(told.value / 8) * 8)
    samples = {GPU.channel: read_counter(device, fast, Refresh(0.1), rng), NODE.channel: rounded}
    return MemoryRun("run", {}, [NODE, GPU], windows, samples), node


def test_lag_and_gain_are_recovered() -> None:
    run, _ = run_with_lag(0)
    energy = RunEnergy(run)
    energy.meter(NODE)
    lag = energy.lags[NODE.channel]
    assert lag.delay_s + lag.averaging_s / 2 == pytest.approx(2.3 + 0.5, abs=0.35)
    assert lag.factor == pytest.approx(1.08, abs=0.03)
    assert lag.offset_w == pytest.approx(150.0, abs=8.0)


def test_node_energy_is_right_within_its_uncertainty_and_so_is_the_rest() -> None:
    held = 0
    for seed in range(20):
        run, node = run_with_lag(seed)
        (ledger,) = Totals(TotalsConfig()).attribute([run])
        rows = {(r.domain, r.phase): r for r in ledger.energy if (r.window, r.basis) == ("measure", "gross")}
        window = run.windows[1]
        truth = node.between(window.t0_ns / 1e9, window.t1_ns / 1e9)
        row = rows["n0", "total"]
        assert row.joules == pytest.approx(truth, rel=0.01)
        assert row.ci_low_j is not None
        assert row.ci_high_j is not None
        held += row.ci_low_j <= truth <= row.ci_high_j
        constant_j = 150 * window.duration_s
        assert rows["n0/rest", "total"].joules == pytest.approx(constant_j + 0.08 / 1.08 * (truth - constant_j), rel=0.05)
        assert "n0/bmc" in ledger.parameters["lags"]
    assert held >= 18


def test_a_short_run_says_what_each_level_needs() -> None:
    run, _ = run_with_lag(0)
    (ledger,) = Totals(TotalsConfig()).attribute([run])
    levels = {row.check: row for row in ledger.validity if row.check.startswith("level_")}
    assert [row.gate for row in levels.values()] == [False] * 3
    assert (levels["level_device"].passed, levels["level_device"].limit) == (False, 0)
    device, wall = (str(levels[f"level_{name}"].reason).split("; ") for name in ("device", "wall"))
    assert levels["level_device"].value == len(device)
    assert "a window idle_loaded_before of 60 s: run.idle_s=60" in device
    assert not any("calibrated" in sentence for sentence in device)
    assert "a calibrated meter of the node on the AC side (an analyser or a PDU) whose calibration is stated" in wall
