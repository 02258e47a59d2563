"""One engine, opened as the worker opens it, and requests of known length for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Any

import pytest

from tpb_core.api import Capabilities, Clock, Engine, EngineContext, EngineDescription, Request, Sampling
from tpb_core.testing.recording_sink import RecordingSink

TEXT = (
    "The keeper of the lighthouse wrote down every ship that passed, its course and the hour, in a book that nobody else ever read. "
    "In winter the ships were few and the entries short; in spring he had to sharpen his pencil twice a day."
)
ADVANCE_NS = 200_000_000
GIVE_UP_S = 300.0


class SuiteClock:
    """Real time."""

    virtual = False

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC in ns."""
        return time.monotonic_ns()

    def sleep_until(self, t_ns: int) -> None:
        """Sleep until `t_ns`."""
        time.sleep(max(0.0, (t_ns - self.now_ns()) / 1e9))


class SuiteVirtualClock:
    """Time that passes when somebody sleeps."""

    virtual = True

    def __init__(self) -> None:
        self._now_ns = 1_000_000_000

    def now_ns(self) -> int:
        """Simulated ns."""
        return self._now_ns

    def sleep_until(self, t_ns: int) -> None:
        """Be at `t_ns`."""
        self._now_ns = max(self._now_ns, t_ns)


def suite_clock(*, virtual: bool) -> Clock:
    """The clock that an engine of this kind runs on."""
    return SuiteVirtualClock() if virtual else SuiteClock()


def engine_class(config: Any) -> type[Engine[Any]]:
    """The class behind the entry point `config.name`."""
    found = entry_points(group="tpb.engines", name=config.name)
    assert found, f"no entry point {config.name!r} in the group tpb.engines: is the plugin installed?"
    loaded: type[Engine[Any]] = next(iter(found)).load()
    return loaded


class EngineSession:
    """An engine and what it said when it was opened."""

    def __init__(self, config: Any, context: EngineContext) -> None:
        self.config = config
        self.context = context
        self.engine = engine_class(config)(config, context)
        self.description: EngineDescription
        self.opening = RecordingSink()

    def open(self) -> None:
        """Load the model."""
        self.description = self.engine.open(self.opening)

    @property
    def capabilities(self) -> Capabilities:
        """What the engine claims."""
        return self.engine.own_capabilities()

    @property
    def drafts(self) -> list[str]:
        """Instances that only draft."""
        return [instance["instance"] for instance in self.description.instances if instance.get("role") == "draft"]

    def requests(
        self, count: int, input_tokens: int, sampling: Sampling, *, shorter_by: int = 0, longer_output_by: int = 0, first_word: int = 0
    ) -> list[Request]:
        """`count` requests; each prompt `shorter_by` tokens shorter and each output `longer_output_by` tokens longer than the last.

        `first_word` shifts where in the text the prompts begin, so that they share no prefix with those of another shift.
        """
        made = []
        for ordinal in range(count):
            own = replace(sampling, max_output_tokens=sampling.max_output_tokens + ordinal * longer_output_by)
            request = Request(ordinal, f"suite-{ordinal}", own)
            words = TEXT.split()
            start = (first_word + ordinal) % len(words)
            text = " ".join([*words[start:], *words[:start]])
            if self.capabilities.tokenizer and self.capabilities.token_input:
                ids = self.engine.tokenizer().encode([text])[0]
                length = input_tokens - ordinal * shorter_by
                request.input_ids = (ids * (length // len(ids) + 1))[:length]
            else:
                request.text = text
            made.append(request)
        return made

    def run(self, requests: Sequence[Request], sink: RecordingSink) -> None:
        """Run requests to their ends: as a static batch where the engine has them, else as streams, else one by one."""
        if self.capabilities.static_batch:
            self.engine.run_batch(requests, sink)
            self.engine.settle(sink)
        else:
            self.stream(requests, sink)

    def stream(self, requests: Sequence[Request], sink: RecordingSink) -> None:
        """Submit all requests at once and see them to their ends."""
        self.submit(requests, sink)
        self.advance_until(sink, lambda: False)

    def submit(self, requests: Sequence[Request], sink: RecordingSink) -> None:
        """Hand requests over; the engine's stamps must not lie before this."""
        self.engine.submit(requests, sink)

    def advance_until(self, sink: RecordingSink, enough: Callable[[], bool]) -> None:
        """Advance until `enough`, or until nothing is under way and all is told. Fails after five minutes."""
        give_up = time.monotonic() + GIVE_UP_S
        while self.engine.advance(sink, self.context.clock.now_ns() + ADVANCE_NS):
            if enough():
                return
            if time.monotonic() > give_up:
                pytest.fail(f"requests are still under way after {GIVE_UP_S:.0f} s")
        self.engine.settle(sink)
