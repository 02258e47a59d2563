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
    """Collects beginnings and iterations until they are taken. `clock` must be CLOCK_MONOTONIC, as vLLM's stamps are.

    In vLLM's own time it only notes what cannot be known later; the rest is worked out when it is taken.
    """

    def __init__(self, scheduler: Any, clock: Clock) -> None:
        self.first_tokens = False
        """Whether the first output token of a sequence came since the last call of `take`."""
        self._beginnings: list[Beginning] = []
        self._over: list[tuple[int, int, list[tuple[str, int, int, int, int]], Any]] = []
        """Steps: begin, end, of each sequence vLLM's id and the values of its part, and the outputs."""
        self._scheduler, self._clock = scheduler, clock
        self._under_way: deque[tuple[Any, int, list[tuple[str, int, int, int, int]]]] = deque()
        self._ids: dict[str, str] = {}
        """Of each stream that was scheduled the id under which the scheduler knows it."""
        self._begun: set[str] = set()
        self._silent: set[str] = set()
        """Ids without an output token so far."""
        self._schedule, self._update = scheduler.schedule, scheduler.update_from_output
        scheduler.schedule, scheduler.update_from_output = self.schedule, self.update

    def schedule(self, *arguments: Any, **keywords: Any) -> Any:
        """In place of `Scheduler.schedule`."""
        t0_ns = self._clock.now_ns()
        output = self._schedule(*arguments, **keywords)
        if output.num_scheduled_tokens:
            requests, drafts, parts = self._scheduler.requests, output.scheduled_spec_decode_tokens, []
            for request_id, width in output.num_scheduled_tokens.items():
                request = requests[request_id]
                if request_id not in self._begun:
                    self._begin(request_id, request, t0_ns)
                # the scheduler has counted this step's positions already
                start, drafted = request.num_computed_tokens - width, len(drafts[request_id]) if request_id in drafts else 0
                parts.append((request_id, start, width, drafted, request.num_preemptions))
            self._under_way.append((output, t0_ns, parts))
        return output

    def _begin(self, request_id: str, request: Any, t0_ns: int) -> None:
        name = stream_of(request_id)
        self._ids[name] = request_id
        self._begun.add(request_id)
        self._silent.add(request_id)
        self._beginnings.append(_beginning(name, request, t0_ns))

    def update(self, output: Any, *arguments: Any, **keywords: Any) -> Any:
        """In place of `Scheduler.update_from_output`."""
        results = self._update(output, *arguments, **keywords)
        while self._under_way and self._under_way[0][0] is not output:
            self._under_way.popleft()  # a step that was given up
        if self._under_way:
            _, t0_ns, parts = self._under_way.popleft()
            self._over.append((t0_ns, self._clock.now_ns(), parts, results))
            if self._silent:
                speaking = {one.request_id for client in results.values() for one in client.outputs if one.new_token_ids}
                self.first_tokens = self.first_tokens or not self._silent.isdisjoint(speaking)
                self._silent -= speaking
        return results

    def take(self) -> tuple[list[Beginning], list[Iteration]]:
        """What came since the last call."""
        beginnings, over = self._beginnings, self._over
        self._beginnings, self._over, self.first_tokens = [], [], False
        return beginnings, [_iteration(*one) for one in over]

    def forget(self, name: str) -> None:
        """A sequence has ended."""
        if (request_id := self._ids.pop(name, None)) is not None:
            self._begun.discard(request_id)
            self._silent.discard(request_id)

    def close(self) -> None:
        """Give the scheduler its own methods back."""
        self._scheduler.schedule, self._scheduler.update_from_output = self._schedule, self._update
        self._under_way.clear()


def _iteration(t0_ns: int, t1_ns: int, parts: list[tuple[str, int, int, int, int]], results: Any) -> Iteration:
    iteration = Iteration(t0_ns, [Part(stream_of(request_id), *values) for request_id, *values in parts], t1_ns)
    for client in results.values():
        iteration.outputs_ns = round(client.timestamp * _NS_PER_S)
        for one in client.outputs:
            iteration.outputs[stream_of(one.request_id)] = one.new_token_ids
    return iteration


def _beginning(name: str, request: Any, t0_ns: int) -> Beginning:
    stamps = {event.type.name: round(event.timestamp * _NS_PER_S) for event in request.events}
    started_ns = stamps.get(_SCHEDULED, t0_ns)
    return Beginning(name, min(stamps.get(_QUEUED, started_ns), started_ns), started_ns)
