"""Static batches and continuous batching with the real small model: what is computed when, and what the KV cache allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.real_engine


def test_a_static_batch_prefills_in_chunks_and_then_decodes_together(desk: Any) -> None:
    lengths, outputs = (70, 9, 33, 50), (3, 8, 1, 5)
    record = desk.batch([desk.ask(i, desk.ids(n), max_output_tokens=o) for i, (n, o) in enumerate(zip(lengths, outputs, strict=True))])
    assert [record.sums(i) for i in range(4)] == [(n, o - 1, o) for n, o in zip(lengths, outputs, strict=True)]
    kinds = [(step.prefill_tokens > 0, step.decode_tokens > 0) for step in record.steps]
    assert kinds == [(True, False)] * 4 + [(False, True)] * 7  # 162 tokens in chunks of 48; the longest answer has 8 tokens
    assert [step.decode_tokens for step in record.steps[4:]] == [3, 3, 2, 2, 1, 1, 1]
    assert {row["reason"] for row in record.done.values()} == {"length"}


def test_continuous_batching_mixes_and_counts_as_one_at_a_time(desk: Any, new_record: Any) -> None:
    requests = [desk.ask(i, desk.ids(12 + 8 * i), max_output_tokens=4 + i) for i in range(7)]
    together = desk.stream(requests)
    assert any(step.prefill_tokens and step.decode_tokens for step in together.steps)
    assert max(len(step.members or ()) for step in together.steps) == 4
    alone = new_record
    for request in requests:
        desk.engine.run_batch([request], alone)
    alone.check_ledger()
    counts = ("input_tokens", "output_tokens", "cached_tokens", "reason")
    assert {r: [row[c] for c in counts] for r, row in together.done.items()} == {
        r: [row[c] for c in counts] for r, row in alone.done.items()
    }
    assert [together.sums(i) for i in range(7)] == [alone.sums(i) for i in range(7)]


def test_cancelling_waiting_and_running_requests(desk: Any, new_record: Any) -> None:
    record = new_record
    desk.engine.submit([desk.ask(i, desk.ids(30), max_output_tokens=12) for i in range(6)], record)
    for _ in range(6):
        assert desk.engine.advance(record, 0)
    desk.engine.cancel([1, 5, 99], record)
    while desk.engine.advance(record, 0):
        pass
    record.check_ledger()
    assert {r: status for r, (status, _) in record.failures.items()} == {1: "cancelled", 5: "cancelled"}
    assert sorted(record.done) == [0, 2, 3, 4]
    assert 0 < record.sums(1)[2] < 12
    assert record.sums(5) == (0, 0, 0)


def test_what_cannot_fit_is_rejected_and_what_fits_later_waits(desk: Any) -> None:
    record = desk.stream(
        [
            desk.ask(0, desk.ids(250), max_output_tokens=8),
            *(desk.ask(i, desk.ids(90), max_output_tokens=2) for i in (1, 2, 3)),
        ],
    )
    status, error = record.failures[0]
    assert status == "rejected"
    assert "engine.context_tokens" in error
    assert sorted(record.done) == [1, 2, 3]
    assert max(len(step.members or ()) for step in record.steps) <= 2
    exactly = desk.batch([desk.ask(0, desk.ids(252), max_output_tokens=5), desk.ask(1, desk.ids(8))])
    assert exactly.done[0]["output_tokens"] == 5
    assert exactly.failures[1][0] == "rejected"


def test_a_cache_that_is_fuller_than_we_know_preempts_and_recomputes(desk: Any, new_record: Any) -> None:
    loaded, tokens = desk.engine._loaded, desk.engine._scheduler._iteration._batch
    # cells that the engine did not give away: llama.cpp runs out of them before our books do
    lib, foreign = loaded.lib, desk.engine._cells._free[0]
    record = new_record
    for start in range(0, 120, 40):
        tokens.set_decoding([], [], [])
        tokens.add_chunk(desk.ids(40), start, foreign, wanted=False)
        assert lib.llama_decode(loaded.context, tokens.struct) == 0
    desk.engine.submit([desk.ask(i, desk.ids(65), max_output_tokens=12) for i in (0, 1)], record)
    while desk.engine.advance(record, 0):
        if record.done:
            lib.llama_memory_seq_rm(loaded.memory, foreign, -1, -1)
    record.check_ledger()
    assert record.done[0]["preemptions"] == 0
    assert record.done[1]["preemptions"] == 1
    recomputed = sum(step.recomputed_tokens or 0 for step in record.steps)
    assert recomputed > 0
    assert record.sums(1)[0] == 65 + recomputed
    assert record.done[1]["output_tokens"] == 12
    assert not record.failures


def test_prefix_reuse_is_off_unless_asked_for(desk: Any) -> None:
    ids = desk.ids(90)
    for _ in range(2):
        again = desk.batch([desk.ask(0, ids)])
        assert again.done[0]["cached_tokens"] == 0
        assert again.sums(0)[0] == 90


def test_prefix_reuse_counts_cached_tokens(open_desk: Callable[..., Any]) -> None:
    desk = open_desk(2, prefix_cache=True, context_tokens=256)
    assert desk.description.prefix_cache is True
    ids = desk.ids(90)
    first = desk.batch([desk.ask(0, ids)])
    again = desk.batch([desk.ask(0, ids)])
    longer = desk.stream([desk.ask(0, ids[:60] + desk.ids(30, "Then")), desk.ask(1, desk.ids(40, "So"))])
    assert [first.done[0]["cached_tokens"], again.done[0]["cached_tokens"]] == [0, 89]
    assert [longer.done[i]["cached_tokens"] for i in (0, 1)] == [60, 0]
    assert first.ids[0] == again.ids[0]
    assert desk.engine.reset_caches()
    assert desk.batch([desk.ask(0, ids)]).done[0]["cached_tokens"] == 0
    full = desk.stream([desk.ask(i, desk.ids(150, f"Number {i}. "), max_output_tokens=2) for i in range(3)])
    assert len(full.done) == 3  # kept prompts make room
