"""Truth adds up to exact integrals, and is what the split rules say on the world's own cost function."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpb_sim import Lengths, Load, Metering, WorldSpec, simulate
from tpb_sim.cost import Affine, AffineTerms, StaticPower
from tpb_sim.sensor import SENSORS, SensorSpec
from tpb_sim.server import Limits, ServerSpec
from tpb_sim.truth import RULES

ROUND = 1e-9


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_phases_and_requests_add_up_to_the_exact_integral(world_specs: st.SearchStrategy[WorldSpec], data: st.DataObject) -> None:
    run = simulate(data.draw(world_specs), seed=data.draw(st.integers(0, 1000)))
    truth = run.truth([w.window for w in run.windows])
    rows = {(r.window, r.domain, r.basis, r.method, r.phase): r for r in truth.phases}
    spans = {w.window: w for w in run.windows}
    for window, domain, basis, method in {key[:4] for key in rows if key[4] == "decode"}:
        parts = [rows[window, domain, basis, method, phase] for phase in ("prefill", "decode", "idle")]
        total = rows[window, domain, basis, method, "total"]
        size = sum(abs(p.joules) for p in parts) + abs(total.joules)
        assert sum(p.joules for p in parts) == pytest.approx(total.joules, abs=ROUND * (size + 1.0))
        devices = total.seconds / spans[window].duration_s if spans[window].duration_s else 1
        assert sum(p.seconds for p in parts) == pytest.approx(spans[window].duration_s * devices, abs=1e-9)
    for device in run.world.devices:
        for window in run.windows:
            edges_ns, watts = run.world.device(device).trace.segments()
            inside_s = np.clip(np.minimum(edges_ns[1:], window.t1_ns) - np.maximum(edges_ns[:-1], window.t0_ns), 0, None) / 1e9
            assert truth.row(window.window, device, "total").joules == pytest.approx(float((watts * inside_s).sum()), rel=1e-9, abs=1e-9)
    columns = {name: np.array(values) for name, values in truth.requests.items()}
    for window, basis, method in {key[:1] + key[2:4] for key in rows}:
        mine = (columns["window"] == window) & (columns["basis"] == basis) & (columns["method"] == method)
        for phase in ("prefill", "decode", "idle", "total"):
            amounts = columns[f"{phase}_j"][mine]
            assert amounts.sum() == pytest.approx(
                rows[window, "total", basis, method, phase].joules, abs=ROUND * np.abs(amounts).sum() + 1e-9
            )
        assert (columns["request"][mine] == -1).sum() == 1


BUSY, PREFILL, DECODE = 2.0, 0.5, 1.0
JOULES = AffineTerms(busy=BUSY, prefill=PREFILL, decode=DECODE, kv=0.0, prefill_kv=0.0)
SECONDS = AffineTerms(busy=0.1, prefill=0.01, decode=0.02, kv=0.0, prefill_kv=0.0)
STATIC_W = 50.0


def test_a_mixed_step_by_hand() -> None:
    # Two requests of 10 prompt tokens and 3 output tokens; the second arrives while the first one decodes and joins its second step.
    cost = Affine(SECONDS, JOULES, StaticPower(loaded_w=STATIC_W))
    spec = WorldSpec(
        cost=cost,
        server=ServerSpec(limits=Limits(max_sequences=2, max_step_tokens=11)),
        load=Load(shape="offline", requests=2, input_tokens=Lengths(((1.0, 10, 10),)), output_tokens=Lengths(((1.0, 3, 3),))),
    )
    run = simulate(spec)
    steps = run.columns("steps")
    assert steps is not None
    # step 0: prompt of the first (10) and one token of the second's; then decode 1 + prefill 9; then two decode 2; then decode 1
    assert steps["prefill_tokens"].values.tolist() == [11, 9, 0, 0]
    assert steps["decode_tokens"].values.tolist() == [0, 1, 2, 1]
    mixed_s, prefill_only_s, decode_only_s = 0.1 + 0.09 + 0.02, 0.1 + 0.09, 0.1 + 0.02
    mixed_j = BUSY + 9 * PREFILL + DECODE + STATIC_W * mixed_s
    prefill_only_j = BUSY + 9 * PREFILL + STATIC_W * prefill_only_s
    decode_only_j = BUSY + DECODE + STATIC_W * decode_only_s
    first_j = BUSY + 11 * PREFILL + STATIC_W * (0.1 + 0.11)
    later_j = 2 * BUSY + 3 * DECODE + STATIC_W * (0.14 + 0.12)
    truth = run.truth()
    expected = {
        "shapley": 0.5 * (prefill_only_j + mixed_j - decode_only_j),
        "incremental": mixed_j - decode_only_j,
        "token": mixed_j * 9 / 10,
    }
    for rule, joules in expected.items():
        assert truth.row("measure", "n0/gpu0", "prefill", rule).joules == pytest.approx(first_j + joules, rel=1e-9)
        assert truth.row("measure", "n0/gpu0", "decode", rule).joules == pytest.approx(later_j + mixed_j - joules, rel=1e-9)
    with pytest.raises(KeyError):
        truth.row("measure", "n0/gpu0", "prefill", "pure")
    # requests: the first step is shared 10 to 1, the mixed one belongs to one request a phase, decode of the third is shared equally
    columns = truth.requests
    shares = {
        (request, method): (prefill, decode)
        for request, basis, method, prefill, decode in zip(
            columns["request"], columns["basis"], columns["method"], columns["prefill_j"], columns["decode_j"], strict=True
        )
        if basis == "gross"
    }
    both_j = BUSY + 2 * DECODE + STATIC_W * 0.14
    assert shares[0, "shapley"] == pytest.approx((first_j * 10 / 11, mixed_j - expected["shapley"] + both_j / 2))
    assert shares[1, "shapley"] == pytest.approx((first_j / 11 + expected["shapley"], both_j / 2 + BUSY + DECODE + STATIC_W * 0.12))
    # net of loaded idle: the same rules on the cost function without static power
    net = 0.5 * ((BUSY + 9 * PREFILL) + (BUSY + 9 * PREFILL + DECODE) - (BUSY + DECODE))
    assert truth.row("measure", "n0/gpu0", "prefill", basis="net_loaded").joules == pytest.approx(BUSY + 11 * PREFILL + net, rel=1e-6)


def test_idle_is_shared_by_residence() -> None:
    # A pause of the host of 1 s between steps: one request resident, all of its idle time is its own.
    spec = WorldSpec(
        cost=Affine(SECONDS, JOULES, StaticPower(loaded_w=STATIC_W)),
        server=ServerSpec(host_gap_ms=1000.0),
        load=Load(shape="single", requests=2, input_tokens=Lengths(((1.0, 10, 10),)), output_tokens=Lengths(((1.0, 3, 3),))),
    )
    truth = simulate(spec).truth()
    idle = {
        request: joules
        for request, basis, method, joules in zip(
            truth.requests["request"], truth.requests["basis"], truth.requests["method"], truth.requests["idle_j"], strict=True
        )
        if (basis, method) == ("gross", "pure")
    }
    # two pauses within each request; the one between them falls to the second, which was submitted when the first ended
    assert idle == pytest.approx({0: 2 * STATIC_W, 1: 3 * STATIC_W, -1: 0.0}, abs=1e-6)


def test_pure_windows_need_no_rule() -> None:
    truth = simulate().truth()
    for rule, phase in itertools.product(RULES, ("prefill", "decode", "idle", "total")):
        pure = truth.row("measure", "n0/gpu0", phase, "pure")
        assert truth.row("measure", "n0/gpu0", phase, rule)[5:] == pure[5:]


def test_what_a_flawless_analysis_would_read() -> None:
    metering = Metering(
        sensors=(SensorSpec(gain=1.1, offset_w=4.0, update_ms=1.0, resolution_j=0.0), SensorSpec(gain=0.9, update_ms=1.0)),
        node=SENSORS["bmc"],
    )
    run = simulate(
        WorldSpec(server=ServerSpec(layout="data_parallel", devices=2), load=Load(shape="offline", requests=8), metering=metering)
    )
    truth = run.truth()
    rows = {domain: truth.row("measure", domain, "total") for domain in ("n0/gpu0", "n0/gpu1", "n0", "total")}
    assert rows["n0/gpu0"].as_metered_j == pytest.approx(1.1 * rows["n0/gpu0"].joules + 4.0 * rows["n0/gpu0"].seconds)
    assert rows["n0/gpu1"].as_metered_j == pytest.approx(0.9 * rows["n0/gpu1"].joules)
    assert rows["n0"].joules == pytest.approx(1.08 * (rows["n0/gpu0"].joules + rows["n0/gpu1"].joules + 150.0 * rows["n0"].seconds))
    assert rows["total"].joules == rows["n0"].joules  # the coarsest measured domain
    assert truth.row("measure", "total", "decode").joules == pytest.approx(
        sum(truth.row("measure", d, "decode").joules for d in ("n0/gpu0", "n0/gpu1"))
    )
    # and a counter of 1 ms does read it, within two updates at some 600 W
    window = next(w for w in run.windows if w.window == "measure")
    series = run.series("n0/gpu0/energy")
    said = np.interp([window.t0_ns, window.t1_ns], series.t_ns, series.value)
    assert said[1] - said[0] == pytest.approx(rows["n0/gpu0"].as_metered_j, abs=40.0)


def test_drawn_errors_follow_what_the_channels_declare() -> None:
    errors = []
    for seed in range(200):
        run = simulate(
            WorldSpec(load=Load(requests=1), idle_s=0.0, server=ServerSpec(devices=2), metering=Metering(draw_errors=True)), seed
        )
        errors.append([run.world.sensors[d].gain - 1.0 for d in ("n0/gpu0", "n0/gpu1")] + [run.world.sensors["n0/gpu0"].offset_w])
    gain0, gain1, offset = np.array(errors).T
    assert gain0.std() == pytest.approx(0.037, rel=0.15)
    assert offset.std() == pytest.approx(5.9, rel=0.15)
    assert np.corrcoef(gain0, gain1)[0, 1] == pytest.approx(0.4, abs=0.15)


def test_requests_at_the_outlet_add_up_to_the_phases_of_the_node() -> None:
    """A metered node gives the run's total: its requests pay for the host while they use it, and for the losses of its supply."""
    from tpb_sim.coverage import named_world

    run = simulate(named_world("node_1hz").spec, 0)
    truth = run.truth()
    requests = [
        joules
        for window, method, basis, joules in zip(*(truth.requests[name] for name in ("window", "method", "basis", "total_j")), strict=True)
        if (window, method, basis) == ("measure", "shapley", "gross")
    ]
    node = {phase: truth.row("measure", "n0", phase).joules for phase in ("prefill", "decode", "idle", "total")}
    for phase in ("prefill", "decode", "idle"):
        assert truth.row("measure", "total", phase).joules == node[phase]
    assert sum(requests) == pytest.approx(node["prefill"] + node["decode"] + node["idle"], rel=1e-9)
    assert sum(requests) == pytest.approx(node["total"], rel=1e-9)
