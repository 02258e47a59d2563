"""The stand-in for tensorrt_llm where tests can import it, a folder that passes for a model, and `Desk`, which asks the engine."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import EngineContext, Request, Sampling
from tpb_core.testing.engine_session import SuiteClock
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_trtllm import TrtllmConfig, TrtllmEngine

DOUBLE = Path(__file__).parent / "double"


@pytest.fixture(scope="session", autouse=True)
def importable_double() -> Iterator[None]:
    """`import tensorrt_llm` finds the stand-in."""
    sys.path.insert(0, str(DOUBLE))
    yield
    sys.path.remove(str(DOUBLE))
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorrt_llm"]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def served() -> Any:
    """The module `served`: stand-ins of trtllm-serve in processes of their own."""
    spec = importlib.util.spec_from_file_location("served", Path(__file__).parent / "served.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def settings() -> Iterator[Any]:
    """How the stand-in behaves; put back after the test."""
    from tensorrt_llm.double_settings import SETTINGS

    yield SETTINGS
    SETTINGS.reset()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder; the stand-in loads nothing from it."""
    return tmp_path_factory.mktemp("model")


class Desk:
    """One open engine and the requests that tests make of it."""

    def __init__(self, model: Path | str | None, **options: Any) -> None:
        context = EngineContext(clock=SuiteClock(), run_id="r")
        self.engine = TrtllmEngine(TrtllmConfig(model=None if model is None else str(model), **options), context)
        self.opening = RecordingSink()
        self.sink = RecordingSink()
        self.description = self.engine.open(self.opening)

    def ask(self, number: int = 0, tokens: int = 40, **changes: Any) -> Request:
        """A request for six tokens exactly, unless changed."""
        ids = [10 + (number * 31 + place) % 200 for place in range(tokens)]
        return Request(number, f"q{number}", Sampling(**{"max_output_tokens": 6, "exact_output_length": True, **changes}), input_ids=ids)

    def run(self, *requests: Request, patience_s: float = 30.0) -> RecordingSink:
        """Submit and see all to their ends, steps included."""
        self.engine.submit(requests or [self.ask()], self.sink)
        give_up = time.monotonic() + patience_s
        while self.engine.advance(self.sink, time.monotonic_ns() + 50_000_000):
            assert time.monotonic() < give_up, "requests are still under way"
        self.engine.settle(self.sink)
        return self.sink


@pytest.fixture
def open_desk(model: Path, settings: Any) -> Iterator[Callable[..., Desk]]:
    """Opens engines, closed after the test."""
    opened: list[Desk] = []

    def open_one(**options: Any) -> Desk:
        opened.append(Desk(**{"model": model, **options}))
        return opened[-1]

    yield open_one
    for each in opened:
        each.engine.close()
