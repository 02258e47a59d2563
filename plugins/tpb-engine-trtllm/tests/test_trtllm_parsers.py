"""What comes from a server may be anything: readers of its JSON give a value or their own error. Times and matches checked by hand."""

from __future__ import annotations

import contextlib
import json
import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_trtllm.energy_answer import EnergyAnswer, NoEnergy, read_answer
from tpb_engine_trtllm.executor_clock import ExecutorClock, RequestTimes, as_ns, request_times
from tpb_engine_trtllm.iterations import BadRow, read_iteration, read_rows
from tpb_engine_trtllm.perf_records import BadRecords, PerfRecord, Seen, assign, read_records, scheduled_together
from tpb_engine_trtllm.step_log import StepLog
from tpb_engine_trtllm.wall_clock import FORMAT, WallClock

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        "iter",
        "iterLatencyMS",
        "timestamp",
        "inflightBatchingStats",
        "specDecodingStats",
        "requestStats",
        "attentionDpRank",
        "statsDroppedFrames",
    ]
)
BATCH = st.dictionaries(
    st.sampled_from(["numScheduledRequests", "numContextRequests", "numGenRequests", "numCtxTokens", "numCtxKvTokens"]), ANYTHING
)


@given(st.dictionaries(KEYS, ANYTHING | BATCH) | ANYTHING)
def test_any_row_is_an_iteration_or_a_bad_row(row: Any) -> None:
    sink = RecordingSink()
    log = StepLog(WallClock(lambda: 10**12), stamped_at_start=True, needs_requests=False)
    try:
        read_iteration(row)
    except BadRow:
        log.report([row], sink)
        assert sink.steps == []
        assert log.bad_rows == 1
    log.refusal([row], 0, 10**12)


@given(st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_any_answer_is_read_or_refused(data: bytes) -> None:
    for read, refusal in ((read_rows, BadRow), (read_records, BadRecords)):
        with contextlib.suppress(refusal):
            assert isinstance(read(data), list)
    for status in (404, 500, 503):
        with pytest.raises(NoEnergy):
            read_answer(status, data)
    with contextlib.suppress(NoEnergy):
        assert 0 <= read_answer(200, data).joules < math.inf


def test_energy_as_the_server_gives_it() -> None:
    assert read_answer(200, b'{"total_energy_j": 12.5, "query_time": 3.25}') == EnergyAnswer(12.5, 3_250_000_000)
    assert read_answer(200, b'{"total_energy_j": 0}') == EnergyAnswer(0.0, None)
    for data in (b'{"total_energy_j": null}', b'{"total_energy_j": NaN}', b'{"total_energy_j": -1}', b'{"total_energy_j": true}', b"[]"):
        with pytest.raises(NoEnergy):
            read_answer(200, data)


@given(ANYTHING | st.timedeltas())
def test_any_stamp_is_a_time_or_none(stamp: Any) -> None:
    ns = as_ns(stamp)
    assert ns is None or 0 < ns < 10**19


def test_stamps_are_whole_nanoseconds() -> None:
    assert as_ns(timedelta(seconds=12, microseconds=345_678)) == 12_345_678_000
    assert as_ns(12.5) == 12_500_000_000
    assert as_ns(timedelta(0)) is None  # not set yet


def test_brackets_narrow_the_offset_down() -> None:
    """Their clock is 1 s behind ours: offset 1 s. Brackets of 10 ms and of 2 ms around it."""
    clock = ExecutorClock()
    clock.bracket(5_000_000_000, 4_004_000_000, 4_004_000_000, 5_010_000_000)
    clock.bracket(6_000_000_000, 5_001_000_000, 5_001_000_000, 6_002_000_000)
    assert clock.problem is None
    assert clock.ours(7_000_000_000) == pytest.approx(8_000_000_000, abs=1_100_000)
    assert clock.uncertainty_ns == pytest.approx(1_000_000, abs=5_000)
    clock.bracket(9_000_000_000, 9_000_000_000, 9_000_000_000, 9_001_000_000)
    assert "contradict" in str(clock.problem)


@given(
    offset=st.integers(-(10**12), 10**12),
    brackets=st.lists(st.tuples(st.integers(10**13, 2 * 10**13), st.integers(0, 10**7), st.integers(0, 10**7)), min_size=1, max_size=8),
)
def test_the_true_offset_is_never_excluded(offset: int, brackets: list[tuple[int, int, int]]) -> None:
    clock = ExecutorClock()
    for their_ns, before, after in brackets:
        clock.bracket(their_ns + offset - before, their_ns, their_ns, their_ns + offset + after)
    assert clock.low_ns <= offset <= clock.high_ns
    assert abs(clock.ours(0) - offset) <= 2 * clock.uncertainty_ns


def test_times_of_a_request_are_believed_only_in_order_and_within_what_we_saw() -> None:
    clock = ExecutorClock(0, 0, None)
    stamps = (1.0, 1.1, 1.2, 1.5)
    assert request_times(clock, stamps, 900_000_000, 1_600_000_000) == RequestTimes(10**9, 1_100_000_000, 1_200_000_000, 1_500_000_000)
    assert "backwards" in str(request_times(clock, (1.0, 1.3, 1.2, 1.5), 0, 2 * 10**9))
    assert "outside" in str(request_times(clock, stamps, 1_050_000_000, 1_600_000_000))
    assert "outside" in str(request_times(clock, stamps, 900_000_000, 1_400_000_000))
    assert "no times" in str(request_times(clock, (1.0, None, 1.2, 1.5), 0, 2 * 10**9))


def record(*times_ms: int) -> PerfRecord:
    return PerfRecord(*(time * 1_000_000 for time in times_ms))


def seen(request: int, *times_ms: int) -> Seen:
    return Seen(request, *(time * 1_000_000 for time in times_ms))


CLOCK = ExecutorClock(0, 0, None)


def test_a_record_that_only_one_request_can_have_is_nobody_elses() -> None:
    early, late = record(12, 13, 50, 90), record(15, 55, 100, 140)
    both = assign([seen(1, 11, 105, 145), seen(0, 10, 55, 95)], [late, early], CLOCK)
    assert both == {0: early, 1: late}


def test_records_that_cannot_be_told_apart_are_taken_only_if_they_say_the_same() -> None:
    alike = [record(12, 13, 50, 90), record(12, 13, 50, 91)]
    assert assign([seen(0, 10, 55, 95)], alike, CLOCK)[0].arrived_ns == 12_000_000
    assert assign([seen(0, 10, 55, 95)], [record(12, 13, 50, 90), record(12, 30, 50, 90)], CLOCK) == {}
    assert assign([seen(0, 10, 55, 95)], [record(5, 13, 50, 90)], CLOCK) == {}


def test_requests_that_were_scheduled_together_began_when_all_their_records_say() -> None:
    both = [seen(0, 10, 55, 95), seen(1, 11, 56, 96)]
    records = [record(12, 20, 50, 90), record(16, 20, 50, 90)]
    assert assign(both, records, CLOCK) == {}
    assert scheduled_together(both, records, CLOCK) == {0: 20_000_000, 1: 20_000_000}
    assert scheduled_together(both, [*records, record(17, 30, 50, 90)], CLOCK) == {}
    assert scheduled_together(both, [], CLOCK) == {}


def wall(realtime_s: float, run_s: float = 1000.0) -> WallClock:
    return WallClock(lambda: round(run_s * 1e9), lambda: round(realtime_s * 1e9))


def test_wall_clock_text_on_the_run_clock() -> None:
    now = datetime(2026, 11, 20, 12, 30, 0, 250_000)
    clock = wall(now.timestamp())
    assert clock.run_ns((now - timedelta(seconds=2)).strftime(FORMAT)) == pytest.approx(998.0e9, abs=2000)


def test_a_stepped_wall_clock_is_noticed() -> None:
    times = iter([100.0, 100.0, 100.0, 100.5, 100.5, 100.5, 100.5005, 100.5005, 100.5005])
    clock = WallClock(lambda: 0, lambda: round(next(times) * 1e9))
    assert [clock.look(), clock.look(), clock.look()] == [True, False, True]


@pytest.mark.parametrize("text", ["", "11-20-2026", "2026-11-20 12:00:00", "11-20-0001 12:00:00.0", "13-40-2026 12:00:00.000000"])
def test_text_that_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        wall(1.7e9).run_ns(text)


def test_a_slow_look_at_the_clocks_does_not_move_stamps() -> None:
    """The realtime clock is 1.7e9 s ahead. A look of 0.1 ms in which the realtime clock was read last seems to show 50 us more."""
    run_ns = iter([0, 0, 0, 0, 0, 0, 10**9, 10**9 + 100_000, 10**9, 10**9 + 100_000, 10**9, 10**9 + 100_000, 10**9, 10**9])
    realtime_ns = iter([17 * 10**17] * 3 + [17 * 10**17 + 10**9 + 100_000] * 3)
    clock = WallClock(lambda: next(run_ns), lambda: next(realtime_ns))
    stamp = datetime.fromtimestamp(1.7e9 + 0.5).strftime(FORMAT)
    assert clock.look() and clock.look()
    assert clock.run_ns(stamp) == pytest.approx(0.5e9, abs=2000)


@pytest.mark.parametrize(("overlap_ms", "begins_ms"), [(0.05, 10.05), (5.0, 10.0)])
def test_steps_overlap_only_if_iterations_do(overlap_ms: float, begins_ms: float) -> None:
    """Iterations 10 ms apart: what 0.05 ms would overlap is the clocks' doing; 5 ms is the engine's, and is left for the writer to say."""
    now = datetime(2026, 11, 20, 12, 30, 0)
    sink = RecordingSink()

    def row(number: int, after_ms: float, latency_ms: float) -> dict[str, Any]:
        batch = {"numScheduledRequests": 1, "numContextRequests": 0, "numGenRequests": 1, "numCtxTokens": 0}
        stamp = (now + timedelta(milliseconds=after_ms)).strftime(FORMAT)
        return {"iter": number, "iterLatencyMS": latency_ms, "timestamp": stamp, "inflightBatchingStats": batch}

    log = StepLog(wall(now.timestamp()), stamped_at_start=True, needs_requests=False)
    log.report([row(1, 0.0, 10.0 + overlap_ms), row(2, 10.0, 10.0)], sink)
    first, second = sink.steps
    assert (second.t0_ns - first.t0_ns) / 1e6 == pytest.approx(begins_ms, abs=0.002)
    assert (second.t1_ns - first.t0_ns) / 1e6 == pytest.approx(20.0, abs=0.002)
