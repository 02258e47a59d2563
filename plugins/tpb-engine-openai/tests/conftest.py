"""The engine in front of the stand-in server, asked through `Desk`; what it reports is kept in a `RecordingSink`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tpb_core.api import EngineContext, Request, Sampling
from tpb_core.testing.engine_session import SuiteClock
from tpb_core.testing.openai_double import DoubleSettings, OpenAiDouble
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_openai import OpenAiConfig, OpenAiEngine

TEXT = "The keeper of the lighthouse wrote down every ship."


class Desk:
    """One open engine and the requests that tests make of it. `double=` says what goes wrong at the stand-in."""

    def __init__(self, url: str, double: dict[str, Any] | None = None, **options: Any) -> None:
        body = {"extra_body": {"double": double}} if double else {}
        self.engine = OpenAiEngine(OpenAiConfig(url=url, **{**body, **options}), EngineContext(clock=SuiteClock(), run_id="r"))
        self.sink = RecordingSink()
        self.description = self.engine.open(self.sink)

    def ask(self, number: int = 0, text: str | None = TEXT, **changes: Any) -> Request:
        """A request for six tokens exactly, unless changed."""
        given = {name: changes.pop(name) for name in ("input_ids", "messages") if name in changes}
        settings = {"max_output_tokens": 6, "exact_output_length": True, **changes}
        return Request(number, f"q{number}", Sampling(**settings), text=None if given else text, **given)

    def run(self, *requests: Request, patience_s: float = 30.0) -> RecordingSink:
        """Submit and see all to their ends."""
        self.engine.submit(requests or [self.ask()], self.sink)
        give_up = time.monotonic() + patience_s
        while self.engine.advance(self.sink, time.monotonic_ns() + 50_000_000):
            assert time.monotonic() < give_up, "requests are still under way"
        return self.sink


@pytest.fixture
def new_double() -> Iterator[Callable[..., OpenAiDouble]]:
    """Starts stand-ins, ended after the test."""
    running: list[OpenAiDouble] = []

    def start(**settings: Any) -> OpenAiDouble:
        running.append(OpenAiDouble(DoubleSettings(**settings)).__enter__())
        return running[-1]

    yield start
    for each in running:
        each.__exit__()


@pytest.fixture(scope="session")
def vllm_double() -> Iterator[OpenAiDouble]:
    """A stand-in that behaves like vLLM."""
    with OpenAiDouble(DoubleSettings(token_s=0.002)) as double:
        yield double


@pytest.fixture
def open_desk(vllm_double: OpenAiDouble) -> Iterator[Callable[..., Desk]]:
    """Opens engines in front of the stand-in (or another `url`), closed after the test."""
    opened: list[Desk] = []

    def open_one(url: str | None = None, **options: Any) -> Desk:
        opened.append(Desk(url or vllm_double.url, **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.engine.close()
