"""The engine and the meter on a virtual clock, through the interfaces that the session uses."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tpb_core.api import BadInput, EngineContext, MeterContext, Reading, Request, Sampling
from tpb_core.testing.recording_sink import RecordingSink
from tpb_sim.engine import SimEngine
from tpb_sim.hook import truth_writer
from tpb_sim.meter import SimMeter, SimMeterConfig
from tpb_sim.options import SimEngineConfig
from tpb_sim.world import find_world, free_world


def sampling(tokens: int, exact: bool = True) -> Sampling:
    return Sampling(max_output_tokens=tokens, exact_output_length=exact)


def requests_of(count: int, input_tokens: int = 100, output_tokens: int = 8, exact: bool = True) -> list[Request]:
    return [Request(n, f"r-{n}", sampling(output_tokens, exact), input_ids=[5] * input_tokens, prompt_id=f"p-{n}") for n in range(count)]


class Pair:
    """An engine and a meter of one run on one clock, as the session sets them up: the meter first."""

    def __init__(self, clock: Any, run_id: str, *, meter: SimMeterConfig | None = None, **options: Any) -> None:
        self.clock, self.sink, self.readings = clock, RecordingSink(), []
        self.readings: list[Reading]
        self.meter = SimMeter(meter or SimMeterConfig(), MeterContext(clock, run_id, report_event=lambda *event: self.events.append(event)))
        self.events: list[Any] = []
        self.channels = self.meter.discover()
        self.meter.open()
        clock.tick = lambda: self.readings.extend(self.meter.read())
        self.engine = SimEngine(SimEngineConfig(**{"jitter": 0.0, **options}), EngineContext(clock, run_id, max_concurrency=4))
        self.description = self.engine.open(self.sink)

    def stream(self) -> None:
        while self.engine.advance(self.sink, self.clock.now_ns() + 250_000_000):
            pass

    def joules(self, channel: str = "n0/gpu0/energy") -> float:
        values = [r.value for r in self.readings if r.channel == channel]
        return values[-1] - values[0]


@pytest.fixture
def run_id(request: pytest.FixtureRequest) -> Any:
    yield request.node.name
    free_world(request.node.name)


def test_a_static_batch(clock: Any, run_id: str) -> None:
    pair = Pair(clock, run_id)
    begin_ns = clock.now_ns()
    pair.engine.run_batch(requests_of(4), pair.sink)
    assert [s.prefill_tokens for s in pair.sink.steps] == [400] + [0] * 7
    assert [s.decode_tokens for s in pair.sink.steps] == [0] + [4] * 7
    assert pair.sink.steps[0].t0_ns == begin_ns
    assert pair.sink.steps[0].t1_ns - begin_ns == round((18e-3 + 400 * 120e-6) * 1e9)
    for recorded in pair.sink.requests.values():
        assert (recorded.status, recorded.reason, recorded.output_tokens, recorded.counted_tokens) == ("ok", "length", 8, 8)
        assert recorded.text == pair.engine.tokenizer().decode([recorded.ids])[0]
    clock.sleep_until(clock.now_ns() + 10_000_000_000)
    pair.engine.close()
    pair.engine.close()


def test_streams_join_and_leave_and_can_be_cancelled(clock: Any, run_id: str) -> None:
    pair = Pair(clock, run_id, chunk_tokens=64)
    first, second, third = requests_of(3, output_tokens=20)
    pair.engine.submit([first], pair.sink)
    for _ in range(5):
        assert pair.engine.advance(pair.sink, clock.now_ns() + 10**9)
    pair.engine.submit([second, third], pair.sink)
    pair.engine.cancel([2], pair.sink)
    assert pair.sink.requests[2].status == "cancelled"
    pair.stream()
    assert any(s.prefill_tokens and s.decode_tokens for s in pair.sink.steps)
    assert {n: r.status for n, r in pair.sink.requests.items()} == {0: "ok", 1: "ok", 2: "cancelled"}
    assert not pair.engine.advance(pair.sink, clock.now_ns() + 10**9)


def test_advance_returns_by_the_time_it_was_given(clock: Any, run_id: str) -> None:
    pair = Pair(clock, run_id)
    pair.engine.submit(requests_of(1, input_tokens=500), pair.sink)  # a prefill of 78 ms
    until_ns = clock.now_ns() + 10_000_000
    assert pair.engine.advance(pair.sink, until_ns)
    assert clock.now_ns() == until_ns
    pair.engine.cancel([0], pair.sink)  # part of a step under way: it leaves with the step
    pair.stream()
    assert pair.sink.requests[0].status == "cancelled"
    assert pair.sink.requests[0].counted_tokens == sum(s.emitted_tokens for s in pair.sink.steps)


def test_the_meter_reads_what_the_engine_spends(clock: Any, run_id: str) -> None:
    pair = Pair(clock, run_id, meter=SimMeterConfig(sensor="ideal", node=True))
    pair.engine.run_batch(requests_of(4), pair.sink)
    clock.sleep_until(clock.now_ns() + 5_000_000_000)
    world = find_world(run_id)
    assert world is not None
    own = [r for r in pair.readings if r.channel == "n0/gpu0/energy"]
    true = np.diff(world.energy_j("n0/gpu0", [own[0].t_before_ns, own[-1].t_before_ns]))[0]
    assert pair.joules() == pytest.approx(float(true), abs=0.7)  # an update of 1 ms at either end
    # by hand: bare while loading (2 s at 70 W), the batch, then 120 W
    steps_j = (3.4 + 400 * 64e-3) + sum(3.4 + 4 * 0.15 + 0.25e-3 * 4 * (100 + k) for k in range(7))
    busy_s = (pair.sink.steps[-1].t1_ns - pair.sink.steps[0].t0_ns) / 1e9
    whole_s = (own[-1].t_before_ns - 3_000_000_000) / 1e9
    loading_s = (3_000_000_000 - own[0].t_before_ns) / 1e9
    assert float(true) == pytest.approx(70.0 * loading_s + 120.0 * whole_s + steps_j, rel=1e-9)
    assert busy_s > 0
    assert {c.channel: c.role for c in pair.channels} == {"n0/gpu0/energy": "primary", "n0/gpu0/power": "check", "n0/power": "primary"}
    assert any(r.channel == "n0/power" and r.value % 8 == 0 for r in pair.readings)


def test_host_lag_delays_reports_and_not_the_device(clock: Any, run_id: str) -> None:
    pair = Pair(clock, run_id, host_lag_ms=1.0, asynchronous=True)
    pair.engine.submit(requests_of(1, output_tokens=20), pair.sink)
    while pair.engine.advance(pair.sink, clock.now_ns() + 10**9):
        last_ns = max([t for r in pair.sink.requests.values() for t, _, _ in r.tokens], default=0)
        assert last_ns <= clock.now_ns()  # nothing is reported before it was seen
    steps = pair.sink.steps
    assert any(later.t0_ns < earlier.t1_ns for earlier, later in itertools.pairwise(steps))  # for the worker to serialise
    world = find_world(run_id)
    assert world is not None
    assert world.recorder is not None
    true = world.recorder.columns()
    assert (true.t0_ns[1:] == true.t1_ns[:-1]).all()


def test_natural_lengths_are_seeded(clock: Any, run_id: str) -> None:
    pair = Pair(clock, run_id)
    pair.engine.run_batch(requests_of(30, output_tokens=100, exact=False), pair.sink)
    lengths = [r.output_tokens for r in pair.sink.requests.values()]
    assert {r.reason for r in pair.sink.requests.values()} == {"stop", "length"}
    assert len(set(lengths)) > 10
    again = Pair(clock, run_id + "-again")
    again.engine.run_batch(requests_of(30, output_tokens=100, exact=False), again.sink)
    assert [r.output_tokens for r in again.sink.requests.values()] == lengths
    free_world(run_id + "-again")


def test_prefix_cache_only_when_asked_for(clock: Any, run_id: str) -> None:
    pair = Pair(clock, run_id, prefix_cache=True)
    request = Request(0, "r-0", sampling(2), input_ids=list(range(40)))
    pair.engine.run_batch([request], pair.sink)
    again = Request(1, "r-1", sampling(2), input_ids=[*range(32), 99, 98])
    pair.engine.run_batch([again], pair.sink)
    assert [r.cached_tokens for r in pair.sink.requests.values()] == [0, 32]
    assert pair.engine.reset_caches()
    pair.engine.run_batch([Request(2, "r-2", sampling(2), input_ids=list(range(40)))], pair.sink)
    assert pair.sink.requests[2].cached_tokens == 0


def test_too_long_requests_are_rejected(clock: Any, run_id: str) -> None:
    pair = Pair(clock, run_id, context_tokens=100)
    pair.engine.submit(requests_of(1, input_tokens=99, output_tokens=2), pair.sink)
    assert pair.sink.requests[0].status == "rejected"
    pair.stream()


@pytest.mark.parametrize("layout", ["data_parallel", "pipeline", "disaggregated"])
def test_layouts_need_their_devices(clock: Any, run_id: str, layout: str) -> None:
    with pytest.raises(BadInput, match="at least two devices"):
        Pair(clock, run_id, layout=layout)
    free_world(run_id)
    pair = Pair(clock, run_id, meter=SimMeterConfig(devices=2), layout=layout, devices=2)
    pair.engine.submit(requests_of(6), pair.sink)
    pair.stream()
    assert all(r.status == "ok" and r.counted_tokens == 8 for r in pair.sink.requests.values())
    assert {i["role"] for i in pair.description.instances} == ({"prefill", "decode"} if layout == "disaggregated" else {"mixed"})


def test_a_gap_is_left_out_and_reported_once(clock: Any, run_id: str) -> None:
    pair = Pair(clock, run_id, meter=SimMeterConfig(gap_s=[3.0, 4.0]))
    clock.sleep_until(8_000_000_000)
    times_s = [(r.t_before_ns - 1_000_000_000) / 1e9 for r in pair.readings]
    assert not [t for t in times_s if 3.0 <= t < 4.0]
    assert [event[2] for event in pair.events] == ["n0/gpu0/energy", "n0/gpu0/power"]


@pytest.mark.parametrize(("options", "what"), [({"gains": [1.0]}, "1 values for 2"), ({"gap_s": [3.0]}, "a start and a later end")])
def test_bad_meter_options(clock: Any, run_id: str, options: dict[str, Any], what: str) -> None:
    with pytest.raises(BadInput, match=what):
        SimMeter(SimMeterConfig(devices=2, **options), MeterContext(clock, run_id, lambda *event: None)).discover()


def test_the_hook_writes_truth_and_frees_the_world(clock: Any, run_id: str, tmp_path: Path) -> None:
    pair = Pair(clock, run_id)
    t0_ns = clock.now_ns()
    pair.engine.run_batch(requests_of(4), pair.sink)
    t1_ns = clock.now_ns()
    pair.engine.close()
    (tmp_path / "manifest.json").write_text(json.dumps({"run_id": run_id}))
    pq.write_table(
        pa.table({"window": ["measure", "cut_off"], "t0_ns": [t0_ns, t1_ns], "t1_ns": [t1_ns, None]}), tmp_path / "windows.parquet"
    )
    ended = [t0_ns] * 4, [r.finished_ns for r in pair.sink.requests.values()]
    pq.write_table(pa.table({"request": [0, 1, 2, 3], "submitted_ns": ended[0], "finished_ns": ended[1]}), tmp_path / "requests.parquet")
    truth_writer.bundle_complete(tmp_path)
    rows = pq.read_table(tmp_path / "x_truth.parquet").to_pylist()
    total = next(r for r in rows if r["phase"] == "total" and r["domain"] == "n0/gpu0" and r["method"] == "pure")
    steps_j = (3.4 + 400 * 64e-3) + sum(3.4 + 4 * 0.15 + 0.25e-3 * 4 * (100 + k) for k in range(7))
    assert total["joules"] == pytest.approx(steps_j + 120.0 * (t1_ns - t0_ns) / 1e9)
    assert {r["window"] for r in rows} == {"measure"}
    requests = pq.read_table(tmp_path / "x_truth_requests.parquet").to_pylist()
    mine = [r for r in requests if r["method"] == "pure" and r["basis"] == "gross"]
    assert sum(r["total_j"] for r in mine) == pytest.approx(total["joules"])
    assert find_world(run_id) is None
    shown = {column.beside: column.value for column in truth_writer.report_columns(tmp_path)}
    assert shown["energy"] == f"{total['joules']:.1f}"
    truth_writer.bundle_complete(tmp_path)  # a run that was not simulated here: nothing happens
    truth_writer.run_finished(tmp_path)


def test_without_truth_memory_is_given_back(clock: Any, run_id: str, tmp_path: Path) -> None:
    pair = Pair(clock, run_id, truth=False)
    pair.engine.run_batch(requests_of(2, output_tokens=30_000), pair.sink)
    world = find_world(run_id)
    assert world is not None
    edges_ns, _ = world.device("n0/gpu0").trace.segments()
    assert len(edges_ns) < 15_000  # of 30,000 steps
    (tmp_path / "manifest.json").write_text(json.dumps({"run_id": run_id}))
    truth_writer.bundle_complete(tmp_path)
    assert not list(tmp_path.glob("x_*"))
