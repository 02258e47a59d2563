"""Iteration statistics as steps: what each iteration computed, when, and whether all of them add up to the tokens that came out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from tpb_core.api import EngineSink, EventCode, Step
from tpb_engine_trtllm.iterations import BadRow, Iteration, RequestState, read_iteration
from tpb_engine_trtllm.wall_clock import WallClock

_REMEMBERED = 10_000
_FIRST_ROWS = 3
"""Iterations of the first request; rows before them may be late ones of the library's own warming up."""
_MOVED_NS = 200_000
"""What clocks that are kept in step may be moved against one another between two looks (500 parts in a million over 0.4 s)."""
NO_TIME = "TensorRT-LLM's iteration statistics carry no time (releases that leave `timestamp` empty)"


class StepLog:
    """Turns rows into steps. `stamped_at_start`: the PyTorch back end stamps an iteration when it is scheduled, TensorRT's when it is over.

    Steps have no members: the ids in the statistics are the executor's own, and nothing says whose requests they are.
    """

    def __init__(self, wall: WallClock, *, stamped_at_start: bool, needs_requests: bool) -> None:
        self._wall, self._stamped_at_start, self._needs_requests = wall, stamped_at_start, needs_requests
        self._states: dict[tuple[int, int], RequestState] = {}
        self._ended_ns: dict[int, int] = {}
        self._dropped = 0
        self.emitted_tokens = 0
        """Of all steps so far."""
        self.bad_rows = 0

    def refusal(self, rows: Iterable[Any], earliest_ns: int, latest_ns: int) -> str | None:
        """Why there is no step log, judged by the rows of a first request that ran between two times; None where there is one."""
        try:
            found = [iteration for iteration in map(read_iteration, rows) if iteration.scheduled_requests]
            if not found:
                return "TensorRT-LLM gave no iteration statistics (enable_iter_perf_stats)"
            if not all(iteration.timestamp for iteration in found):
                return NO_TIME
            if not any(iteration.context_tokens for iteration in found):
                return "TensorRT-LLM's iteration statistics do not say how many prompt tokens an iteration computed"
            if self._needs_requests and not any(iteration.requests for iteration in found):
                return "output tokens of an iteration are not told (enable_iter_req_stats)"
            self._wall.look()
            fits = self._wall.fit(found[-1].timestamp, earliest_ns, latest_ns)
            spans = [self._span(iteration) for iteration in found[-_FIRST_ROWS:]]
        except ValueError as error:
            return f"TensorRT-LLM's iteration statistics cannot be read: {error}"
        room_ns = 5_000_000
        if not fits or min(span[0] for span in spans) < earliest_ns - room_ns or max(span[1] for span in spans) > latest_ns + room_ns:
            return "the times of TensorRT-LLM's iterations lie outside of the time in which their request ran"
        return None

    def forget(self, rows: Iterable[Any]) -> None:
        """Rows of a request that is not of the load: what they show is known, and is no step."""
        for row in rows:
            with contextlib.suppress(BadRow):
                self._progress(read_iteration(row))

    def report(self, rows: Iterable[Any], sink: EngineSink) -> None:
        """Hand the steps of these rows to the sink."""
        if not self._wall.look():
            sink.event(EventCode.CLOCK_STEPPED, "the realtime clock was stepped, by which TensorRT-LLM stamps its iterations")
        for row in rows:
            try:
                iteration = read_iteration(row)
                step = self._step(iteration)
            except (BadRow, ValueError) as error:
                self.bad_rows += 1
                if self.bad_rows == 1:
                    sink.event(EventCode.ENGINE_ERROR, f"an iteration is missing in the step log: {error}")
                continue
            if iteration.dropped > self._dropped:
                sink.event(
                    EventCode.TOKENS_DIFFER, f"TensorRT-LLM threw the statistics of {iteration.dropped - self._dropped} iterations away"
                )
                self._dropped = iteration.dropped
            if step is not None:
                sink.step(step)

    def _span(self, iteration: Iteration) -> tuple[int, int]:
        stamp_ns = self._wall.run_ns(iteration.timestamp)
        if self._stamped_at_start:
            return stamp_ns, stamp_ns + iteration.latency_ns
        return stamp_ns - iteration.latency_ns, stamp_ns

    def _step(self, iteration: Iteration) -> Step | None:
        """None for an iteration in which nothing was scheduled."""
        emitted, kv_tokens = self._progress(iteration)
        if not iteration.scheduled_requests:
            self.emitted_tokens += emitted or 0
            return None
        if emitted is None:
            emitted = iteration.context_requests + iteration.generation_requests
        self.emitted_tokens += emitted
        t0_ns, t1_ns = self._span(iteration)
        ended_ns = self._ended_ns.get(iteration.rank, t0_ns)
        if t0_ns < ended_ns <= min(t0_ns + _MOVED_NS, t1_ns):  # the clocks moved, the iterations did not overlap
            t0_ns = ended_ns
        self._ended_ns[iteration.rank] = t1_ns
        return Step(
            t0_ns,
            t1_ns,
            prefill_tokens=iteration.context_tokens,
            decode_tokens=iteration.generation_requests + (iteration.draft_tokens or 0),
            emitted_tokens=emitted,
            instance=str(iteration.rank),
            time_source="engine",
            draft_tokens=iteration.draft_tokens,
            accepted_tokens=iteration.accepted_tokens,
            kv_tokens=kv_tokens,
            prefill_kv_tokens=iteration.context_kv_tokens,
        )

    def _progress(self, iteration: Iteration) -> tuple[int | None, int | None]:
        """Tokens that came out since the last iteration, and KV length of the decoding requests at its start; None where not told."""
        if not iteration.requests and not self._needs_requests:
            return None, None
        emitted = kv_tokens = 0
        for number, state in iteration.requests.items():
            key = (iteration.rank, number)
            before = self._states.get(key)
            generated = before.generated if before is not None else 0
            fresh = max(0, state.generated - generated)
            emitted += fresh
            if fresh and generated:
                kv_tokens += state.prefilled + generated - 1  # the last token is computed in this iteration
            self._states[key] = state
        if len(self._states) > _REMEMBERED:
            self._states = {key: state for key, state in self._states.items() if not state.complete or key[1] in iteration.requests}
        return emitted, kv_tokens
