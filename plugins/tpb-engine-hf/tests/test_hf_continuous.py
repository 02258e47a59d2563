"""Continuous batching on a real, tiny model: its tokens are those of static batches, and its step log survives what a scheduler does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import EngineContext, Refused, Request, Sampling
from tpb_core.testing import engine_accounts
from tpb_core.testing.engine_session import EngineSession, SuiteClock
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_hf import HfConfig

pytestmark = pytest.mark.real_engine

Open = Callable[..., EngineSession]


@pytest.fixture
def opened(tiny_llama: Path) -> Iterator[Open]:
    sessions: list[EngineSession] = []

    def open_one(concurrency: int = 4, **options: Any) -> EngineSession:
        config = HfConfig(**{"model": str(tiny_llama), "device": "cpu", "kv_page_tokens": 16, **options})
        session = EngineSession(config, EngineContext(SuiteClock(), "run", max_concurrency=concurrency, max_context_tokens=128))
        sessions.append(session)
        session.open()
        return session

    yield open_one
    for session in sessions:
        session.engine.close()


def requests_of(prompts: list[list[int]], sampling: Sampling) -> list[Request]:
    return [Request(n, f"r{n}", sampling, input_ids=ids) for n, ids in enumerate(prompts)]


def stream(session: EngineSession, prompts: list[list[int]], sampling: Sampling) -> RecordingSink:
    sink = RecordingSink()
    session.stream(requests_of(prompts, sampling), sink)
    engine_accounts.check_steps_in_order(sink.steps)
    engine_accounts.check_members(sink)
    return sink


def batch(session: EngineSession, prompts: list[list[int]], sampling: Sampling) -> RecordingSink:
    sink = RecordingSink()
    session.engine.run_batch(requests_of(prompts, sampling), sink)
    return sink


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(9, exact_output_length=True),
        Sampling(9, exact_output_length=True, temperature=0.8, top_p=0.9, top_k=20, seed=11),
        Sampling(9, exact_output_length=True, temperature=1.0, seed=3, n=2),
        Sampling(40, temperature=1.5, seed=4),
    ],
    ids=["greedy", "seeded", "two sequences", "natural length"],
)
def test_tokens_are_those_of_static_batches(opened: Open, sampling: Sampling) -> None:
    session, prompts = opened(), [[5, 6, 7, 8, 9], [40, 41], [100] * 7]
    streams, static = stream(session, prompts, sampling), batch(session, prompts, sampling)
    for number in range(len(prompts)):
        assert sorted(streams.requests[number].ids) == sorted(static.requests[number].ids)
        assert streams.requests[number].text == static.requests[number].text
        assert streams.requests[number].reason == static.requests[number].reason


def test_seeds_are_kept_while_other_prompts_are_still_being_computed(opened: Open) -> None:
    session, prompts = opened(max_batch_tokens=8), [[5, 6], list(range(30)), [7] * 11]
    sampling = Sampling(9, exact_output_length=True, temperature=1.0, seed=11)
    streams, static = stream(session, prompts, sampling), batch(session, prompts, sampling)
    assert any(step.prefill_tokens and step.decode_tokens for step in streams.steps)
    assert [recorded.ids for recorded in streams.requests.values()] == [static.requests[number].ids for number in streams.requests]


def test_prefill_and_decode_of_one_request(opened: Open) -> None:
    # 20 prompt tokens in batches of 8, then 2 further output tokens: 8 + 8 + 4, and one position each
    sink = stream(opened(max_batch_tokens=8), [list(range(20))], Sampling(3, exact_output_length=True))
    assert [(step.prefill_tokens, step.decode_tokens, step.emitted_tokens) for step in sink.steps] == [
        (8, 0, 0), (8, 0, 0), (4, 0, 1), (0, 1, 1), (0, 1, 1),
    ]  # fmt: skip
    assert [step.prefill_kv_tokens for step in sink.steps] == [0, 8, 16, 0, 0]
    assert [step.kv_tokens for step in sink.steps] == [0, 0, 0, 20, 21]
    recorded = sink.requests[0]
    assert recorded.queued_ns is not None
    assert recorded.queued_ns <= recorded.started_ns == sink.steps[0].t0_ns  # type: ignore[operator]


def test_a_prefix_cache_that_was_asked_for_is_used_and_counted(opened: Open) -> None:
    session, prompt, sampling = opened(prefix_cache=True), list(range(50)), Sampling(2, exact_output_length=True)
    first, again = stream(session, [prompt], sampling), stream(session, [prompt], sampling)
    assert (first.requests[0].cached_tokens, again.requests[0].cached_tokens) == (0, 48)  # three whole pages of 16
    assert sum(step.prefill_tokens for step in again.steps) == 2
    assert session.engine.reset_caches()
    assert stream(session, [prompt], sampling).requests[0].cached_tokens == 0
    with pytest.raises(Refused, match="no prefix cache"):
        batch(session, [prompt], sampling)


def test_preempted_requests_are_computed_again_and_say_so(opened: Open) -> None:
    # four requests of 20 + 40 tokens need 16 pages of 16; 9 pages cannot hold them all to their ends
    session = opened(kv_pages=9, max_batch_tokens=64)
    prompts = [[n] * 20 for n in range(4)]
    sink = stream(session, prompts, Sampling(40, exact_output_length=True))
    assert all(recorded.status == "ok" and recorded.output_tokens == 40 for recorded in sink.requests.values())
    assert sum(recorded.preemptions for recorded in sink.requests.values()) > 0
    recomputed = sum(step.recomputed_tokens or 0 for step in sink.steps)
    assert recomputed > 0
    assert sum(step.prefill_tokens for step in sink.steps) == 4 * 20 + recomputed
    assert sum(step.decode_tokens for step in sink.steps) == 4 * 39


def test_requests_that_cannot_run_together_are_refused(opened: Open) -> None:
    session, sink = opened(), RecordingSink()
    session.engine.submit([Request(0, "r0", Sampling(60, exact_output_length=True), input_ids=[1, 2])], sink)
    with pytest.raises(Refused, match="under way"):
        session.engine.submit([Request(1, "r1", Sampling(4, temperature=1.0), input_ids=[1])], sink)
    session.advance_until(sink, lambda: False)
    session.engine.submit([Request(1, "r1", Sampling(4, temperature=1.0), input_ids=[1])], sink)  # alone it may
    session.advance_until(sink, lambda: False)
    assert [recorded.status for recorded in sink.requests.values()] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("options", "sampling", "what"),
    [
        ({}, Sampling(4, beam_width=2), "no beam search"),
        ({"prompt_lookup_tokens": 2}, Sampling(4), "no assisted decoding"),
        ({"async_batching": True}, Sampling(4, temperature=1.0, seed=1), "cannot be honoured exactly"),
        ({"cuda_graphs": True}, Sampling(4, stop=("a",)), "cannot be honoured exactly"),
    ],
)
def test_what_continuous_batching_cannot_do_is_refused(opened: Open, options: dict[str, Any], sampling: Sampling, what: str) -> None:
    with pytest.raises(Refused, match=what):
        opened(**options).engine.submit([Request(0, "r0", sampling, input_ids=[1])], RecordingSink())


def test_a_request_beyond_the_context_is_rejected(opened: Open) -> None:
    session, sink = opened(), RecordingSink()
    session.stream(requests_of([[1] * 1020, [1, 2]], Sampling(8, exact_output_length=True)), sink)
    assert (sink.requests[0].status, sink.requests[1].status) == ("rejected", "ok")


def test_a_loop_that_dies_ends_the_requests_as_errors(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*arguments: Any, **keywords: Any) -> Any:
        raise RuntimeError("out of memory")

    session, sink = opened(), RecordingSink()
    monkeypatch.setattr(session.engine._opened().model.model.layers[0].mlp, "forward", no_memory)  # type: ignore[attr-defined]
    session.stream(requests_of([[1, 2], [3]], Sampling(3)), sink)
    assert [recorded.status for recorded in sink.requests.values()] == ["error", "error"]
    assert "out of memory" in str(sink.requests[0].error)
    session.engine.close()


def test_many_requests_through_few_places(opened: Open) -> None:
    sink = stream(opened(concurrency=2), [[n % 250] * (n % 9 + 1) for n in range(30)], Sampling(3, exact_output_length=True))
    assert engine_accounts.largest_overlap(sink.requests.values(), served=False) == 2
    assert sum(step.emitted_tokens for step in sink.steps) == 90
