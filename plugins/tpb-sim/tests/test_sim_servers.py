"""The step log of random worlds keeps every rule of the run bundle."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpb_sim import Lengths, Load, SimRun, WorldSpec, simulate
from tpb_sim.server import HostStamps, Limits, ServerSpec

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def run_of(data: st.DataObject, world_specs: st.SearchStrategy[WorldSpec]) -> SimRun:
    return simulate(data.draw(world_specs), seed=data.draw(st.integers(0, 1000)))


@MANY
@given(st.data())
def test_members_add_up_to_steps_and_requests(world_specs: st.SearchStrategy[WorldSpec], data: st.DataObject) -> None:
    run = run_of(data, world_specs)
    steps, members = run.columns("steps"), run.step_members()
    assert steps is not None
    step_of = np.repeat(np.arange(len(members.known)), np.diff(members.offsets))
    for column in ("prefill_tokens", "decode_tokens", "emitted_tokens"):
        assert np.bincount(step_of, getattr(members, column), minlength=len(members.known)).tolist() == steps[column].values.tolist()
    decoding, prefilling = members.decode_tokens > 0, members.prefill_tokens > 0
    assert not (decoding & prefilling).any()
    for column, mask in (("kv_tokens", decoding), ("prefill_kv_tokens", prefilling)):
        sums = np.bincount(step_of[mask], members.kv_tokens[mask], minlength=len(members.known))
        assert sums.tolist() == steps[column].values.tolist()
    stages = max((place.pp_stage or 0) for place in run.world.places) + 1
    prefilled, emitted, decoded = (defaultdict(int) for _ in range(3))
    for request, p, d, e in zip(members.request, members.prefill_tokens, members.decode_tokens, members.emitted_tokens, strict=True):
        prefilled[int(request)] += int(p)
        decoded[int(request)] += int(d)
        emitted[int(request)] += int(e)
    recomputed = int(steps["recomputed_tokens"].values.sum()) // stages
    computed_once = 0
    for sequence in run.sequences:
        assert emitted[sequence.request] == sequence.emitted
        if sequence.done:
            assert sequence.emitted == sequence.output_tokens
            computed_once += sequence.input_tokens - sequence.cached_tokens
            assert prefilled[sequence.request] % stages == 0
            if not sequence.preemptions:
                assert prefilled[sequence.request] // stages == sequence.input_tokens - sequence.cached_tokens
                if not run.columns("steps")["draft_tokens"].values.any():  # type: ignore[index]
                    assert decoded[sequence.request] // stages == sequence.output_tokens - 1
        else:
            assert sequence.cancelled
            computed_once += min(prefilled[sequence.request] // stages, sequence.input_tokens - sequence.cached_tokens)
    assert sum(prefilled.values()) // stages == computed_once + recomputed


@MANY
@given(st.data())
def test_steps_of_an_instance_never_overlap_and_stamps_are_in_order(world_specs: st.SearchStrategy[WorldSpec], data: st.DataObject) -> None:
    run = run_of(data, world_specs)
    steps = run.columns("steps")
    assert steps is not None
    assert (np.diff(steps["t0_ns"].values) >= 0).all()
    for instance in set(steps["instance"].values.tolist()):
        mine = steps["instance"].values == instance
        t0, t1 = steps["t0_ns"].values[mine], steps["t1_ns"].values[mine]
        assert (t1 > t0).all()
        assert (t0[1:] >= t1[:-1]).all()
    for sequence in run.sequences:
        stamps = [sequence.submitted_ns, sequence.started_ns, sequence.first_token_ns, sequence.finished_ns]
        known = [stamp for stamp in stamps if stamp is not None]
        assert known == sorted(known)
    offsets, stamps_ns = run.token_stamps()
    assert np.diff(offsets).tolist() == [sequence.emitted for sequence in run.sequences]
    for row, sequence in enumerate(run.sequences):
        own = stamps_ns[offsets[row] : offsets[row + 1]]
        assert (np.diff(own) >= 0).all()
        if len(own):
            assert own[0] == sequence.first_token_ns


@MANY
@given(st.data())
def test_a_seed_gives_the_same_run_again(world_specs: st.SearchStrategy[WorldSpec], data: st.DataObject) -> None:
    spec, seed = data.draw(world_specs), data.draw(st.integers(0, 1000))
    one, two = simulate(spec, seed), simulate(spec, seed)
    for channel in one.channels:
        assert one.series(channel.channel).value.tolist() == two.series(channel.channel).value.tolist()
    assert one.steps.host_t0_ns.tolist() == two.steps.host_t0_ns.tolist()
    assert [row[:5] for row in one.truth().phases] == [row[:5] for row in two.truth().phases]


def test_pipeline_stages_overlap_and_emit_on_the_last_one() -> None:
    spec = WorldSpec(
        server=ServerSpec(layout="pipeline", devices=2),
        load=Load(shape="offline", requests=8, input_tokens=Lengths(((1.0, 50, 50),)), output_tokens=Lengths(((1.0, 10, 10),))),
    )
    run = simulate(spec)
    steps = run.columns("steps")
    assert steps is not None
    first, last = (steps["instance"].values == name for name in ("0", "1"))
    assert steps["emitted_tokens"].values[first].sum() == 0
    assert steps["emitted_tokens"].values[last].sum() == 80
    overlaps = [
        (steps["t0_ns"].values[first] < t1) & (steps["t1_ns"].values[first] > t0)
        for t0, t1 in zip(steps["t0_ns"].values[last], steps["t1_ns"].values[last], strict=True)
    ]
    assert sum(bool(o.any()) for o in overlaps) > 5


def test_disaggregation_hands_over_after_the_first_token() -> None:
    spec = WorldSpec(
        server=ServerSpec(layout="disaggregated", devices=2, transfer_ms=5.0),
        load=Load(shape="single", requests=1, output_tokens=Lengths(((1.0, 3, 3),))),
    )
    run = simulate(spec)
    steps = run.columns("steps")
    assert steps is not None
    assert steps["instance"].values.tolist() == ["prefill", "decode", "decode"]
    assert steps["t0_ns"].values[1] - steps["t1_ns"].values[0] == 5_000_000
    assert [e["role"] for e in run.manifest["engine"]["instances"]] == ["prefill", "decode"]


def test_speculation_emits_more_tokens_than_steps() -> None:
    limits = Limits(drafts=4, acceptance=1.0)
    run = simulate(
        WorldSpec(server=ServerSpec(limits=limits), load=Load(shape="single", requests=1, output_tokens=Lengths(((1.0, 11, 11),))))
    )
    steps = run.columns("steps")
    assert steps is not None
    # one token from prefill, then five a step: 1 + 5 + 5
    assert steps["emitted_tokens"].values.tolist() == [1, 5, 5]
    assert steps["draft_tokens"].values.tolist() == [0, 4, 4]
    assert steps["accepted_tokens"].values.tolist() == [0, 4, 4]
    assert steps["decode_tokens"].values.tolist() == [0, 5, 5]


def test_a_draft_model_runs_before_each_step_that_decodes_and_emits_nothing() -> None:
    limits = Limits(drafts=4, acceptance=1.0)
    load = Load(shape="single", requests=1, output_tokens=Lengths(((1.0, 11, 11),)))
    run = simulate(WorldSpec(server=ServerSpec(limits=limits, draft_cost=0.1), load=load))
    steps = run.columns("steps")
    assert steps is not None
    assert steps["instance"].values.tolist() == ["0", "draft", "0", "draft", "0"]
    assert steps["emitted_tokens"].values.tolist() == [1, 0, 5, 0, 5]
    assert steps["decode_tokens"].values.tolist() == [0, 4, 5, 4, 5]
    # a pass of the draft model takes a tenth of what the model takes for four positions behind the prompt; there are four of them
    kv = run.sequences[0].input_tokens
    assert (steps["t1_ns"].values - steps["t0_ns"].values)[1] == pytest.approx(0.4e9 * (18e-3 + 4 * 100e-6 + kv * 0.2e-6), abs=1.0)


def test_preemption_recomputes_prompt_and_output() -> None:
    limits = Limits(kv_tokens=250, max_sequences=2)
    spec = WorldSpec(
        server=ServerSpec(limits=limits),
        load=Load(shape="offline", requests=2, input_tokens=Lengths(((1.0, 100, 100),)), output_tokens=Lengths(((1.0, 60, 60),))),
    )
    run = simulate(spec)
    steps = run.columns("steps")
    assert steps is not None
    assert sum(s.preemptions for s in run.sequences) == 1
    again = next(s for s in run.sequences if s.preemptions)
    assert steps["recomputed_tokens"].values.sum() == steps["prefill_tokens"].values.sum() - 200
    assert again.emitted == 60
    assert steps["recomputed_tokens"].values.sum() >= 100


def test_asynchronous_stamps_are_serialised_and_say_so() -> None:
    spec = WorldSpec(server=ServerSpec(stamps=HostStamps(lag_ms=0.3, asynchronous=True)), load=Load(shape="single", requests=2))
    run = simulate(spec)
    assert [code for _, _, code, _ in run.events] == ["steps_serialised"]
    assert (run.steps.host_t1_ns > run.steps.t1_ns).any()


def test_padding_of_a_static_batch_by_hand() -> None:
    load = Load(requests=3, batch_size=3, output_tokens=Lengths(((1.0, 2, 20),)))
    run = simulate(WorldSpec(server=ServerSpec(batching="static", padding=True, limits=Limits(max_step_tokens=10**6)), load=load), seed=4)
    inputs, outputs = [s.input_tokens for s in run.sequences], [s.output_tokens for s in run.sequences]
    steps = run.columns("steps")
    assert steps is not None
    assert steps["prefill_padding_tokens"].values[0] == 3 * max(inputs) - sum(inputs)
    assert steps["decode_padding_tokens"].values.sum() == 3 * max(outputs) - sum(outputs)  # the first token of each needs no decode
    assert steps["decode_tokens"].values.sum() == sum(outputs) - 3


def test_a_thousand_requests_a_second() -> None:
    import time

    begin = time.process_time()
    simulate(WorldSpec(server=ServerSpec(limits=Limits(max_sequences=16)), load=Load(shape="poisson", requests=500, rate_per_s=4.0)))
    assert time.process_time() - begin < 0.5  # 0.1 s where this was written


def test_jitter_spreads_time_and_energy_of_equal_steps() -> None:
    run = simulate(WorldSpec(load=Load(shape="single", requests=60, input_tokens=Lengths(((1.0, 200, 200),))), jitter=0.05), seed=5)
    first = run.steps.prefill_tokens == 200
    for amounts in (run.steps.duration_s[first], run.steps.joules[first]):
        assert amounts.std() / amounts.mean() == pytest.approx(0.05, rel=0.35)
    assert abs(np.corrcoef(run.steps.duration_s[first], run.steps.joules[first])[0, 1]) < 0.4
