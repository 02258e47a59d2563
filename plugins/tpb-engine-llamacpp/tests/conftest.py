"""An engine on the desk: opened with the small real model, asked through `Desk`, its reports kept in a `Record`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tpb_core.api import EngineContext, EventCode, Request, Sampling, Step
from tpb_engine_llamacpp import LlamaCppConfig, LlamaCppEngine

SENTENCE = "The river begins in a wet meadow that no map calls by a name, and in a dry summer one can step across it."


class WallClock:
    """CLOCK_MONOTONIC."""

    virtual = False

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, t_ns: int) -> None:
        time.sleep(max(0, t_ns - self.now_ns()) / 1e9)


@dataclass
class Record:
    """A sink that keeps everything."""

    steps: list[Step] = field(default_factory=list)
    started_ns: dict[int, int] = field(default_factory=dict)
    ids: dict[int, list[int]] = field(default_factory=dict)
    token_ns: dict[int, list[int]] = field(default_factory=dict)
    done: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: dict[int, tuple[str, str]] = field(default_factory=dict)

    def started(self, request: int, t_ns: int, queued_ns: int | None = None) -> None:
        assert queued_ns is not None
        assert queued_ns <= t_ns
        self.started_ns[request] = t_ns

    def tokens(self, request: int, t_ns: int, count: int, ids: Sequence[int] = ()) -> None:
        assert len(ids) == count
        self.ids.setdefault(request, []).extend(ids)
        self.token_ns.setdefault(request, []).extend([t_ns] * count)

    def finished(self, request: int, t_ns: int, reason: str, **counts: Any) -> None:
        self.done[request] = {"t_ns": t_ns, "reason": reason, **counts}

    def failed(self, request: int, t_ns: int, status: str, error: str) -> None:
        self.failures[request] = (status, error)

    def step(self, step: Step) -> None:
        self.steps.append(step)

    def window(self, name: str, t0_ns: int, t1_ns: int) -> None: ...

    def event(self, code: EventCode, message: str, request: int | None = None) -> None: ...

    def sums(self, request: int) -> tuple[int, int, int]:
        """Prefill, decode and emitted tokens of a request over all steps."""
        mine = [m for step in self.steps for m in step.members or () if m.request == request]
        return sum(m.prefill_tokens for m in mine), sum(m.decode_tokens for m in mine), sum(m.emitted_tokens for m in mine)

    def check_ledger(self) -> None:
        """What run-bundle.md demands of steps, members and requests."""
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            assert before.t0_ns < before.t1_ns <= after.t0_ns
        computed: Counter[int] = Counter({request: row["cached_tokens"] for request, row in self.done.items()})
        for step in self.steps:
            members = step.members
            assert members
            assert step.prefill_tokens == sum(m.prefill_tokens for m in members)
            assert step.decode_tokens == sum(m.decode_tokens for m in members)
            assert step.emitted_tokens == sum(m.emitted_tokens for m in members)
            assert step.kv_tokens == sum(m.kv_tokens for m in members if m.decode_tokens)
            assert step.prefill_kv_tokens == sum(m.kv_tokens for m in members if m.prefill_tokens)
            for m in members:
                if m.request in self.done and not self.done[m.request]["preemptions"]:
                    assert m.kv_tokens == computed[m.request]
                    computed[m.request] += m.prefill_tokens + m.decode_tokens
        for request, row in self.done.items():
            prefill, decode, emitted = self.sums(request)
            assert emitted == row["output_tokens"] == len(self.ids[request]) == len(self.token_ns[request])
            assert decode == row["output_tokens"] - 1
            if not row["preemptions"]:
                assert prefill == row["input_tokens"] - row["cached_tokens"]
            assert self.started_ns[request] < self.token_ns[request][0] <= self.token_ns[request][-1] == row["t_ns"]


class Desk:
    """One open engine and the requests that tests make of it."""

    def __init__(self, max_concurrency: int = 4, log_path: str | None = None, **options: Any) -> None:
        self.engine = LlamaCppEngine(
            # one thread: threads of llama.cpp wait for each other by spinning, which takes for ever where another test has the second core
            LlamaCppConfig(**{"threads": 1, **options}),
            EngineContext(clock=WallClock(), run_id="r", max_concurrency=max_concurrency, log_path=log_path),
        )
        self.description = self.engine.open(Record())
        self.tokenizer = self.engine.tokenizer()

    def ids(self, count: int, first: str = "") -> list[int]:
        """So many token ids of prose; `first` makes another beginning."""
        ids = self.tokenizer.encode([first + (SENTENCE + " ") * (count // 15 + 1)])[0][:count]
        assert len(ids) == count
        return ids

    def ask(self, number: int, ids: list[int], **sampling: Any) -> Request:
        """A request for six tokens exactly, unless changed."""
        settings = {"max_output_tokens": 6, "exact_output_length": True, **sampling}
        return Request(number, f"q{number}", Sampling(**settings), input_ids=ids)

    def batch(self, requests: list[Request]) -> Record:
        """Run a static batch and check its ledger."""
        record = Record()
        self.engine.run_batch(requests, record)
        record.check_ledger()
        return record

    def stream(self, requests: list[Request]) -> Record:
        """Submit all, advance to the end and check the ledger."""
        record = Record()
        self.engine.submit(requests, record)
        while self.engine.advance(record, 0):
            pass
        record.check_ledger()
        return record


@pytest.fixture
def new_record() -> Record:
    """An empty record."""
    return Record()


@pytest.fixture(scope="session")
def desk() -> Iterator[Desk]:
    """Small steps, so that prompts take several; a small cache, so that it can be too small."""
    desk = Desk(batch_tokens=48, micro_batch_tokens=48, context_tokens=256)
    yield desk
    desk.engine.close()


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    """Opens further engines, closed after the test."""
    opened: list[Desk] = []

    def open_one(*arguments: Any, **options: Any) -> Desk:
        opened.append(Desk(*arguments, **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.engine.close()
