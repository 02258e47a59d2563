"""`windowed` in worlds whose phase energies are known: figures, requests, refusals, invariants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpb_attributors import Totals, TotalsConfig, Windowed, WindowedConfig
from tpb_core.api import BASES, Channel, Ledger, PreconditionFailed, StepMembers
from tpb_core.testing.batch_world import BatchPlan, BatchWorld, batch_world, gpu_channel
from tpb_core.testing.power_world import Refresh, read_counter, read_power

SMALL = BatchPlan(batches=12, decode_steps=40, idle_s=3.0)


def metered(plan: BatchPlan, seed: int, channel: Channel) -> BatchWorld:
    rng = np.random.default_rng(seed)
    world = batch_world(plan, rng)
    read = np.arange(world.read_from_s, world.read_to_s, 0.05) + rng.uniform(0, 0.05)
    if channel.kind == "energy_counter":
        series = read_counter(world.trace, read, Refresh((channel.update_ms or 0) / 1e3), rng)
    else:
        series = read_power(world.trace, read, Refresh((channel.update_ms or 0) / 1e3), (channel.averaging_ms or 0) / 1e3, rng, noise_w=1.0)
    world.run.channels = [channel]
    world.run.samples = {channel.channel: series}
    return world


def windowed(world: BatchWorld) -> Ledger:
    return Windowed(WindowedConfig()).attribute([world.run])[0]


def figures(ledger: Ledger, basis: str = "gross", domain: str = "total", window: str = "measure") -> dict[str, Any]:
    return {r.phase: r for r in ledger.energy if (r.window, r.domain, r.basis) == (window, domain, basis)}


def closes(ledger: Ledger) -> None:
    """The invariants of run-bundle.md, within 1e-9 of the sum of magnitudes."""
    groups: dict[tuple[str, str, str], dict[str, Any]] = {}
    for r in ledger.energy:
        groups.setdefault((r.window, r.domain, r.basis), {})[r.phase] = r
    for key, rows in groups.items():
        assert set(rows) == {"total", "prefill", "decode", "idle", "unattributed"}, key
        total = rows["total"].joules
        parts = [rows[phase].joules for phase in ("prefill", "decode", "idle", "unattributed")]
        for r in rows.values():
            assert r.joules is not None or r.reason is not None, key
        if total is None:
            assert parts == [None] * 4, key
            continue
        known = [part for part in parts if part is not None]
        assert abs(sum(known) - total) <= 1e-9 * (abs(total) + sum(abs(part) for part in known)), key
    table = ledger.request_energy
    if not table:
        return
    for window in set(table["window"]):
        for basis in BASES:
            rows = (table["window"] == window) & (table["basis"] == basis)
            if not rows.any():
                continue
            lines = figures(ledger, basis, "total", window)
            for phase in ("prefill", "decode", "idle"):
                if lines[phase].joules is not None:
                    column = table[f"{phase}_j"][rows]
                    assert abs(column.sum() - lines[phase].joules) <= 1e-9 * (np.abs(column).sum() + 1e-9)
            column = table["total_j"][rows]
            expected = lines["total"].joules - lines["unattributed"].joules
            assert abs(column.sum() - expected) <= 1e-9 * (np.abs(column).sum() + abs(expected))


COUNTER = gpu_channel("energy_counter", update_ms=100.0, delay_ms=0.0, wrap=0.0)
AVERAGE = gpu_channel("power", update_ms=100.0, delay_ms=0.0, averaging_ms=1000.0)
DUTY = gpu_channel("power", update_ms=100.0, delay_ms=0.0, averaging_ms=25.0)


@pytest.mark.parametrize("channel", [COUNTER, AVERAGE, DUTY], ids=["counter", "one_second_average", "duty_cycle"])
def test_phases_are_found_although_prefill_is_shorter_than_the_sensor_resolves(channel: Channel) -> None:
    world = metered(BatchPlan(), 5, channel)
    rows = figures(windowed(world))
    assert rows["prefill"].joules == pytest.approx(world.truth["prefill"], rel=0.03)
    assert rows["decode"].joules == pytest.approx(world.truth["decode"], rel=0.01)
    assert rows["total"].joules == pytest.approx(world.truth["total"], rel=0.01)
    assert abs(rows["unattributed"].joules) < 0.01 * world.truth["total"]


def test_requests_get_their_prompts_and_their_share_of_each_decode_step() -> None:
    world = metered(SMALL, 3, COUNTER)
    ledger = windowed(world)
    table = ledger.request_energy
    rows = (table["window"] == "measure") & (table["basis"] == "gross") & (table["request"] >= 0)
    prefill = np.array([world.request_truth[r]["prefill"] for r in table["request"][rows]])
    decode = np.array([world.request_truth[r]["decode"] for r in table["request"][rows]])
    np.testing.assert_allclose(table["prefill_j"][rows], prefill, rtol=0.2)
    np.testing.assert_allclose(table["decode_j"][rows], decode, rtol=0.1)
    assert np.all(table["u_without_calibration_j"][rows] > 0)
    closes(ledger)


def test_one_request_at_a_time_needs_no_step_log() -> None:
    world = metered(replace(SMALL, batch_size=1, prefill_s=0.4), 4, COUNTER)
    del world.run.tables["steps"]
    world.run.members = None
    ledger = windowed(world)
    rows = figures(ledger)
    assert rows["prefill"].joules == pytest.approx(world.truth["prefill"], rel=0.05)
    assert rows["decode"].joules == pytest.approx(world.truth["decode"], rel=0.05)
    assert ledger.parameters["steps"] == "request stamps"
    closes(ledger)


def test_several_requests_at_once_without_a_step_log_are_refused_by_name() -> None:
    world = metered(SMALL, 4, COUNTER)
    del world.run.tables["steps"]
    world.run.members = None
    with pytest.raises(PreconditionFailed, match="no_step_log"):
        windowed(world)
    ledger = Totals(TotalsConfig()).attribute([world.run])[0]
    rows = figures(ledger)
    assert rows["total"].joules == pytest.approx(world.truth["total"], rel=0.01)
    assert rows["prefill"].reason == "no_step_log"
    assert rows["unattributed"].joules == rows["total"].joules


def test_mixed_steps_are_refused_by_name() -> None:
    world = metered(SMALL, 4, COUNTER)
    world.run.tables["steps"]["decode_tokens"][world.run.tables["steps"]["prefill_tokens"] > 0] = 3
    with pytest.raises(PreconditionFailed, match="pure_steps"):
        windowed(world)


def test_power_of_unknown_averaging_gives_totals_only() -> None:
    world = metered(SMALL, 4, gpu_channel("power", update_ms=100.0, delay_ms=0.0, averaging_ms=100.0))
    world.run.channels = [gpu_channel("power", update_ms=100.0, delay_ms=0.0)]
    rows = figures(windowed(world))
    assert rows["prefill"].reason == "averaging_unknown"
    assert rows["total"].joules == pytest.approx(world.truth["total"], rel=0.02)
    assert rows["unattributed"].joules == rows["total"].joules


def test_a_phase_that_cannot_be_told_is_null_and_its_energy_unattributed() -> None:
    world = metered(SMALL, 4, COUNTER)
    ledger = Windowed(WindowedConfig(largest_u_share=1e-6)).attribute([world.run])[0]
    rows = figures(ledger)
    assert rows["prefill"].reason == "uncertainty_too_large"
    assert rows["total"].joules is not None
    closes(ledger)


def test_members_that_are_not_known_leave_requests_out() -> None:
    world = metered(SMALL, 4, COUNTER)
    members = world.run.members
    assert isinstance(members, StepMembers)
    world.run.members = replace(members, known=np.zeros(len(members.known), np.bool_), offsets=np.zeros_like(members.offsets))
    ledger = windowed(world)
    table = ledger.request_energy
    nobody = (table["request"] == -1) & (table["window"] == "measure") & (table["basis"] == "gross")
    rows = figures(ledger)
    assert table["prefill_j"][nobody].tolist() == [pytest.approx(rows["prefill"].joules)]
    closes(ledger)


def test_two_instances_on_devices_of_their_own_are_told_apart_and_shared_energy_counts_once() -> None:
    world = metered(SMALL, 6, COUNTER)
    twin = metered(replace(SMALL, prefill_w=500.0), 7, COUNTER)
    gpu1 = Channel.from_json({**COUNTER.to_json(), "channel": "n0/gpu1/energy", "domain": "n0/gpu1", "device": "GPU-1", "sensor": "GPU-1"})
    run = world.run
    run.channels = [COUNTER, gpu1]
    run.samples[gpu1.channel] = twin.run.samples[COUNTER.channel]
    run.manifest = {"engine": {"instances": [{"instance": "a", "devices": ["GPU-0"]}, {"instance": "b", "devices": ["GPU-1"]}]}}
    first, second = run.tables["steps"], twin.run.tables["steps"]
    both = {name: np.concatenate([first[name], second[name]]) for name in first}
    both["instance"] = np.array(["a"] * len(first["step"]) + ["b"] * len(second["step"]))
    order = np.argsort(both["t0_ns"], kind="stable")
    run.tables["steps"] = {name: column[order] for name, column in both.items()}
    run.members = None
    last = min(world.run.windows[1].t1_ns, twin.run.windows[1].t1_ns)
    run.windows = [replace(run.windows[1], t1_ns=last)]
    ledger = windowed(world)
    for domain, other in (("n0/gpu0", world), ("n0/gpu1", twin)):
        stop = last / 1e9
        table = other.run.tables["steps"] if other is twin else first
        pure = (table["prefill_tokens"] > 0) & (table["t1_ns"] <= last)
        truth = other.trace.within(np.column_stack([table["t0_ns"][pure], table["t1_ns"][pure]]) / 1e9)
        assert stop > 0
        assert figures(ledger, domain=domain)["prefill"].joules == pytest.approx(truth, rel=0.1)
    closes(ledger)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10**6),
    channel=st.sampled_from([COUNTER, AVERAGE, DUTY]),
    batches=st.integers(1, 6),
    batch_size=st.integers(1, 5),
    share=st.sampled_from([0.001, 0.1, 1.0]),
)
def test_every_ledger_closes(seed: int, channel: Channel, batches: int, batch_size: int, share: float) -> None:
    world = metered(BatchPlan(batches=batches, batch_size=batch_size, decode_steps=20, idle_s=2.0), seed, channel)
    closes(Windowed(WindowedConfig(largest_u_share=share)).attribute([world.run])[0])
    closes(Totals(TotalsConfig()).attribute([world.run])[0])
