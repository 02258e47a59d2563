"""What vLLM's scheduler decides in each step, and what comes of it: taken where the engine core calls its scheduler, on one clock.

`schedule` and `update_from_output` of the one scheduler object are wrapped; nothing is changed. Where batches are queued (pipeline
parallelism, asynchronous scheduling) a step is scheduled before the one before it is over, so that their times overlap.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from tpb_core.api import Clock
from tpb_engine_vllm.streams import Iteration, Part

_QUEUED, _SCHEDULED = "QUEUED", "SCHEDULED"
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Beginning:
    """A sequence that was scheduled for the first time: the engine's own stamps, in ns of the run clock."""

    stream: str
    queued_ns: int
    started_ns: int


def stream_of(request_id: str) -> str:
    """Our name of a sequence: newer versions of vLLM put a dash and random characters behind it."""
    return request_id.partition("-")[0]


class StepTap:
    """Collects beginnings and iterations until they are taken. `clock` must be CLOCK_MONOTONIC, as vLLM's stamps are."""

    def __init__(self, scheduler: Any, clock: Clock) -> None:
        self.beginnings: list[Beginning] = []
        self.iterations: list[Iteration] = []
        self._scheduler, self._clock = scheduler, clock
        self._under_way: deque[tuple[Any, Iteration]] = deque()
        self._begun: set[str] = set()
        self._schedule, self._update = scheduler.schedule, scheduler.update_from_output
        scheduler.schedule, scheduler.update_from_output = self.schedule, self.update

    def schedule(self, *arguments: Any, **keywords: Any) -> Any:
        """In place of `Scheduler.schedule`."""
        t0_ns = self._clock.now_ns()
        output = self._schedule(*arguments, **keywords)
        if output.num_scheduled_tokens:
            drafts, parts = output.scheduled_spec_decode_tokens, []
            for request_id, width in output.num_scheduled_tokens.items():
                request, name = self._scheduler.requests[request_id], stream_of(request_id)
                if name not in self._begun:
                    self._begun.add(name)
                    self.beginnings.append(_beginning(name, request, t0_ns))
                # the scheduler has counted this step's positions already
                start = request.num_computed_tokens - width
                parts.append(Part(name, start, width, len(drafts.get(request_id, ())), request.num_preemptions))
            self._under_way.append((output, Iteration(t0_ns, parts)))
        return output

    def update(self, output: Any, *arguments: Any, **keywords: Any) -> Any:
        """In place of `Scheduler.update_from_output`."""
        results = self._update(output, *arguments, **keywords)
        while self._under_way and self._under_way[0][0] is not output:
            self._under_way.popleft()  # a step that was given up
        if self._under_way:
            iteration = self._under_way.popleft()[1]
            iteration.emitted = {stream_of(one.request_id): len(one.new_token_ids) for client in results.values() for one in client.outputs}
            iteration.t1_ns = self._clock.now_ns()
            self.iterations.append(iteration)
        return results

    def take(self) -> tuple[list[Beginning], list[Iteration]]:
        """What came since the last call."""
        taken = self.beginnings, self.iterations
        self.beginnings, self.iterations = [], []
        return taken

    def forget(self, name: str) -> None:
        """A sequence has ended."""
        self._begun.discard(name)

    def close(self) -> None:
        """Give the scheduler its own methods back."""
        self._scheduler.schedule, self._scheduler.update_from_output = self._schedule, self._update
        self._under_way.clear()


def _beginning(name: str, request: Any, t0_ns: int) -> Beginning:
    stamps = {event.type.name: round(event.timestamp * _NS_PER_S) for event in request.events}
    started_ns = stamps.get(_SCHEDULED, t0_ns)
    return Beginning(name, min(stamps.get(_QUEUED, started_ns), started_ns), started_ns)
