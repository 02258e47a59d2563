"""What the parts of the engine suite share: fixtures, sizes, and how a test runs its requests."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from tpb_core.api import EngineContext, Sampling
from tpb_core.testing import engine_accounts
from tpb_core.testing.engine_session import EngineSession, engine_class, suite_clock
from tpb_core.testing.recording_sink import RecordingSink

_RUNS = itertools.count()
"""Each opening is a run of its own."""


class EngineFixtures:
    """Override `config`. The class attributes fit a small model and may be changed."""

    input_tokens: ClassVar[int] = 40
    output_tokens: ClassVar[int] = 8
    requests: ClassVar[int] = 3
    """Requests that run together."""
    context_tokens: ClassVar[int] = 256
    """What the engine is told that the load needs; holds the input and eight times the output."""
    missing_model: ClassVar[str | None] = "/no/such/folder/model"
    """None for engines that load no model."""
    leak_mib: ClassVar[float] = 64.0
    """Growth of this process over two further openings that is still no leak."""
    heavy_modules: ClassVar[Sequence[str]] = (
        "torch", "transformers", "deepspeed", "vllm", "tensorrt_llm", "llama_cpp", "tensorflow", "jax", "numpy", "pyarrow",
    )  # fmt: skip
    """What the import of the plugin must not pull in."""

    _open: ClassVar[EngineSession | None] = None

    @pytest.fixture
    def config(self) -> Any:
        """The engine's options. To be overridden by a fixture that returns an instance of the engine's config class."""
        raise NotImplementedError("override the fixture `config` with one that returns the engine's config")

    @pytest.fixture
    def session(self, config: Any) -> EngineSession:
        """The engine, opened once for all tests of the class that use equal options."""
        own = type(self)
        if own._open is None or own._open.config != config:
            own.teardown_class()
            own._open = EngineSession(config, self.context(config))
            own._open.open()
        return own._open

    @classmethod
    def teardown_class(cls) -> None:
        """Close the engine after the last test of the class."""
        session, cls._open = cls._open, None
        if session is not None:
            session.engine.close()

    @pytest.fixture
    def sink(self) -> RecordingSink:
        """A sink for one test."""
        return RecordingSink()

    def context(self, config: Any) -> EngineContext:
        """What the engine is told about the run."""
        clock = suite_clock(virtual=engine_class(config).capabilities.virtual_time)
        return EngineContext(
            clock=clock, run_id=f"suite-{next(_RUNS)}", max_concurrency=self.requests, max_context_tokens=self.context_tokens
        )

    def sampling(self, **changes: Any) -> Sampling:
        """Greedy, of exact length, unless changed."""
        return Sampling(**{"max_output_tokens": self.output_tokens, "exact_output_length": True, **changes})

    def run_requests(self, session: EngineSession, sink: RecordingSink, sampling: Sampling, count: int = 1, **shape: int) -> None:
        """Run `count` requests to their ends, or skip the test where the engine does not claim what they ask."""
        if sampling.exact_output_length and not session.capabilities.exact_output_length:
            pytest.skip("capability exact_output_length is not claimed")
        missing = sampling.features() - session.capabilities.sampling - {"exact_output_length"}
        if missing:
            pytest.skip(f"sampling features not claimed: {', '.join(sorted(missing))}")
        session.run(session.requests(count, self.input_tokens, sampling, **shape), sink)

    def check_steps(self, session: EngineSession, sink: RecordingSink) -> None:
        """The step log adds up, as far as there is one."""
        if not session.capabilities.step_log:
            return
        engine_accounts.check_steps_in_order(sink.steps)
        engine_accounts.check_steps_hold_tokens(sink, session.drafts)
        if session.capabilities.step_members:
            engine_accounts.check_members(sink, session.drafts)
