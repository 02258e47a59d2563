"""How often the stated 95 % intervals hold the truth, in simulated worlds: one cell for each kind of sensor, 200 seeds."""

from __future__ import annotations

import numpy as np
import pytest

from tpb_attributors import Windowed, WindowedConfig
from tpb_core.api import Channel
from tpb_core.testing.batch_world import BatchPlan, batch_world, gpu_channel
from tpb_core.testing.power_world import Refresh, read_counter, read_power

SEEDS = 200
PLAN = BatchPlan(batches=20, prefill_s=0.15, decode_steps=30, idle_s=2.0)


def results(channel: Channel, poll_s: float, noise_w: float) -> dict[str, np.ndarray]:
    """(seed, [joules, low, high, truth]) by phase."""
    rows: dict[str, list[tuple[float, ...]]] = {"total": [], "prefill": [], "decode": []}
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        world = batch_world(PLAN, rng)
        read = np.arange(world.read_from_s, world.read_to_s, poll_s) + rng.uniform(0, poll_s)
        refresh = Refresh((channel.update_ms or 0.0) / 1e3, spread_s=0.02 * (channel.update_ms or 0.0) / 1e3)
        if channel.kind == "energy_counter":
            series = read_counter(world.trace, read, refresh, rng)
        else:
            series = read_power(world.trace, read, refresh, (channel.averaging_ms or 0.0) / 1e3, rng, noise_w=noise_w)
        world.run.channels, world.run.samples = [channel], {channel.channel: series}
        for row in Windowed(WindowedConfig()).attribute([world.run])[0].energy:
            if (row.window, row.domain, row.basis) == ("measure", "total", "gross") and row.phase in rows:
                assert row.joules is not None
                rows[row.phase].append((row.joules, row.ci_low_j or 0.0, row.ci_high_j or 0.0, world.truth[row.phase]))
    return {phase: np.array(values) for phase, values in rows.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channel", "poll_s", "noise_w", "widest"),
    [
        (
            gpu_channel("energy_counter", update_ms=100.0, delay_ms=0.0, wrap=0.0),
            0.02,
            0.0,
            {"total": 0.01, "prefill": 0.06, "decode": 0.02},
        ),
        (
            gpu_channel("power", update_ms=100.0, delay_ms=0.0, averaging_ms=25.0),
            0.05,
            2.0,
            {"total": 0.02, "prefill": 0.1, "decode": 0.02},
        ),
        (
            gpu_channel("power", update_ms=100.0, delay_ms=0.0, averaging_ms=1000.0),
            0.05,
            2.0,
            {"total": 0.01, "prefill": 0.15, "decode": 0.05},
        ),
    ],
    ids=["counter", "duty_cycle", "one_second_average"],
)
def test_intervals_hold_the_truth(channel: Channel, poll_s: float, noise_w: float, widest: dict[str, float]) -> None:
    for phase, table in results(channel, poll_s, noise_w).items():
        joules, low, high, truth = table.T
        held = float(np.mean((low <= truth) & (truth <= high)))
        bias = float(np.mean(joules / truth - 1))
        width = float(np.mean((high - low) / 2 / truth))
        print(f"{channel.kind} {phase}: held {held:.3f}, bias {bias:+.4f}, rms {np.std(joules / truth):.4f}, half width {width:.4f}")
        assert held >= 0.90, phase
        assert abs(bias) < width / 2, phase
        assert width < widest[phase], phase
