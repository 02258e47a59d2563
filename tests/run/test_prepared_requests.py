"""Long prompts are in the engine's hands before they are due; what it computes is the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import pytest

from tpb_core.api import Clock, Engine, EngineConfig, EngineContext, EngineDescription, EngineSink, Request, Sampling
from tpb_core.config.schema import ConstantLoad
from tpb_core.run.clock import VirtualClock
from tpb_core.run.engine_client import EngineClient
from tpb_core.run.engine_service import EngineService
from tpb_core.run.interruption import Interruption
from tpb_core.run.load import make_shape
from tpb_core.run.messages import Message
from tpb_core.run.prepared_requests import NEVER_NS, PreparedRequests

MS = 1_000_000


class Noting(Engine[EngineConfig]):
    """Notes what it is given, and answers at once."""

    def __init__(self, config: EngineConfig, context: EngineContext) -> None:
        super().__init__(config, context)
        self.prepared: list[Request] = []
        self.submitted: list[Request] = []

    def open(self, sink: EngineSink) -> EngineDescription:
        raise NotImplementedError

    def prepare(self, requests: Sequence[Request]) -> None:
        self.prepared += requests

    def submit(self, requests: Sequence[Request], sink: EngineSink) -> None:
        self.submitted += requests
        for request in requests:
            sink.finished(request.request, 0, "length", input_tokens=len(request.input_ids or ()), output_tokens=0)


class Straight:
    """A transport that calls the service."""

    pid = None

    def __init__(self, service: EngineService, answers: deque[Message], sizes: list[int]) -> None:
        self._service, self._answers, self._sizes = service, answers, sizes

    def send(self, message: Message) -> None:
        self._sizes.append(len(str(message)))
        self._service.handle(message)

    def receive(self, until_ns: int | None) -> Message | None:
        return self._answers.popleft() if self._answers else None

    def end(self) -> None:
        self._service.close()


class Scene:
    """A session's end and an engine's end, with requests of `tokens` input tokens every 100 ms."""

    def __init__(self, folder: Path, tokens: int) -> None:
        clock: Clock = VirtualClock()
        self.engine = Noting(EngineConfig(name="noting"), EngineContext(clock, "run"))
        answers: deque[Message] = deque()
        self.sizes: list[int] = []
        service = EngineService(self.engine, "noting", folder, clock, answers.append)
        self.client = EngineClient(Straight(service, answers, self.sizes), Interruption())
        self.shape = make_shape(ConstantLoad(rate=10, requests=4))
        self.shape.begin(0)
        self.made: list[int] = []
        self.tokens = tokens
        self.ahead = PreparedRequests(self.client, self.shape, self.request_at)

    def request_at(self, position: int) -> Request:
        self.made.append(position)
        return Request(position, f"run-{position}", Sampling(1), input_ids=list(range(self.tokens)))

    def send_due(self, now_ns: int) -> None:
        for send in self.shape.due(now_ns):
            self.client.submit([self.ahead.take(position, now_ns) for position in send.requests], as_batch=False)


@pytest.fixture
def long(tmp_path: Path) -> Scene:
    return Scene(tmp_path, 5_000)


def test_a_long_prompt_goes_ahead_and_its_submission_is_a_few_bytes(long: Scene) -> None:
    long.send_due(0)
    assert long.ahead.prepare(10 * MS, 100 * MS) == 20 * MS, "the request that was sent may still be on its way"
    assert long.ahead.prepare(20 * MS, 100 * MS) == 40 * MS, "and another one 20 ms later"
    assert [request.request for request in long.engine.prepared] == [1]
    long.send_due(100 * MS)
    assert long.sizes[-1] < 200 < 20_000 < long.sizes[-2]
    assert long.engine.submitted[1] is long.engine.prepared[0]
    assert long.engine.submitted[1].input_ids == list(range(5_000))


def test_the_first_one_goes_ahead_before_the_load_begins(long: Scene) -> None:
    assert long.ahead.prepare(0, NEVER_NS) == 20 * MS
    long.send_due(20 * MS)
    assert long.engine.submitted[0] is long.engine.prepared[0]


def test_nothing_is_prepared_shortly_before_a_request_is_due(long: Scene) -> None:
    long.send_due(0)
    long.ahead.prepare(85 * MS, 100 * MS)
    assert not long.engine.prepared


def test_one_prompt_at_a_time_each_once(long: Scene) -> None:
    """The worker needs as long as the session to read a prompt: a second one behind it would keep a due request waiting."""
    long.send_due(0)
    for now_ms in (1, 5, 15, 22, 43, 64, 75):
        long.ahead.prepare(now_ms * MS, 100 * MS)
    assert [request.request for request in long.engine.prepared] == [1, 2, 3], "at 22, 43 and 64 ms; then there are no more"
    for due_ms in (100, 200, 300):
        long.send_due(due_ms * MS)
    assert long.made == [0, 1, 2, 3]
    assert [request.request for request in long.engine.submitted] == [0, 1, 2, 3]


def test_short_prompts_are_sent_when_they_are_due(tmp_path: Path) -> None:
    short = Scene(tmp_path, 100)
    short.send_due(0)
    short.ahead.prepare(25 * MS, 100 * MS)
    short.send_due(100 * MS)
    assert not short.engine.prepared
    assert [request.request for request in short.engine.submitted] == [0, 1]


def test_what_was_prepared_for_one_run_is_not_sent_in_the_next(long: Scene, tmp_path: Path) -> None:
    long.send_due(0)
    long.ahead.prepare(25 * MS, 100 * MS)
    long.engine.reset_caches = lambda: True  # type: ignore[method-assign]
    long.client.next_bundle(tmp_path)
    same_id = Request(1, "run-1", Sampling(1), input_ids=[7])
    long.client.submit([same_id], as_batch=False)
    assert long.engine.submitted[-1].input_ids == [7]
