"""Drive a load shape against an engine: send what is due, take what ended, until the shape is done. The same loop on both clocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tpb_core.api.clock import Clock
from tpb_core.api.errors import MeasurementFailed
from tpb_core.api.requests import Request
from tpb_core.api.units import NS_PER_MS, NS_PER_S
from tpb_core.run.engine_client import EngineClient
from tpb_core.run.load import LoadShape
from tpb_core.run.messages import Message
from tpb_core.run.outcome import Outcome
from tpb_core.run.prepared_requests import NEVER_NS, PreparedRequests
from tpb_core.run.progress import Progress
from tpb_core.run.recorder import Recorder
from tpb_core.run.sampler_client import SamplerClient

_LOOK_AROUND_NS = NS_PER_S // 4
"""How often the sampler is looked after, the spool flushed and the progress shown while nothing happens."""
_LOOK_TAKES_NS = 5 * NS_PER_MS
"""What that may take, on a slow disk."""
_PATIENCE_NS = 60 * NS_PER_S
"""A static batch has at least so long to end requests that were cancelled: it does between steps."""


@dataclass
class Driver:
    """Everything that a loop over requests touches. Lives in the session process."""

    engine: EngineClient
    recorder: Recorder
    sampler: SamplerClient
    clock: Clock
    progress: Progress
    as_batch: bool
    """Requests sent together go to the engine as one static batch."""
    request_timeout_ns: int
    max_duration_ns: int | None = None

    def run(self, shape: LoadShape, request_at: Callable[[int], Request], role: str) -> None:
        """Run a load to its end. `request_at(position)` makes the request of a position of the shape.

        Raises `Interrupted`, `EngineLost`, `SamplerLost`, and `MeasurementFailed` for a static batch that exceeds the time-out and cannot
        be cut short.
        """
        self._timed_out: set[int] = set()
        self._positions: dict[int, int] = {}
        ahead = PreparedRequests(self.engine, shape, request_at)
        prepared_ns = ahead.prepare(self.clock.now_ns(), NEVER_NS)  # the first one, which is due as soon as the load begins
        while self.clock.now_ns() < prepared_ns < NEVER_NS:
            for message in self.engine.wait(prepared_ns):
                self.take(message)
        begin_ns = self.clock.now_ns()
        shape.begin(begin_ns)
        looked_ns = begin_ns
        while not shape.done:
            for send in shape.due(self.clock.now_ns()):
                requests = [ahead.take(position, self.clock.now_ns()) for position in send.requests]
                self._positions |= zip((request.request for request in requests), send.requests, strict=True)
                submitted_ns = self.clock.now_ns()
                try:
                    self.engine.submit(requests, as_batch=self.as_batch)
                finally:  # after it: a row may cost a flush, and the request would wait for that
                    for request in requests:
                        self.recorder.submitted(request, role, send.due_ns, submitted_ns)
            now_ns, next_due_ns = self.clock.now_ns(), shape.next_due_ns()
            if self._has_time_to_look(now_ns - looked_ns, None if next_due_ns is None else next_due_ns - now_ns):
                looked_ns = now_ns
                self._look_around(now_ns)
                self.progress.requests(shape.ended, shape.total)
                if self.max_duration_ns is not None and now_ns - begin_ns > self.max_duration_ns:
                    shape.stop()
                    continue
            now_ns = self.clock.now_ns()
            until_ns = min(now_ns + _LOOK_AROUND_NS, ahead.prepare(now_ns, next_due_ns))
            for message in self.engine.wait(until_ns if next_due_ns is None else min(until_ns, next_due_ns)):
                self.take(message, shape)
        self.progress.requests(shape.ended, shape.total)
        while self.engine.batch_running:
            for message in self.engine.wait(self.clock.now_ns() + _LOOK_AROUND_NS):
                self.take(message, shape)

    def take(self, message: Message, shape: LoadShape | None = None) -> None:
        """One message of the engine: an outcome, or something on the side."""
        match message["kind"]:
            case "outcome":
                outcome = Outcome.from_json(message)
                if outcome.request in self._timed_out and outcome.status == "cancelled":
                    outcome.status, outcome.error = "timeout", f"not finished within {self.request_timeout_ns / NS_PER_S:g} s"
                self.recorder.ended(outcome)
                if shape is not None:
                    ended_ns = outcome.finished_ns if outcome.finished_ns is not None else self.clock.now_ns()
                    shape.finished(ended_ns, self._positions.pop(outcome.request))
            case "event":
                self.recorder.event(message["code"], message["message"], request=message["request"], t_ns=message["t_ns"], source="engine")
            case "window":
                self.recorder.window(message["window"], message["t0_ns"], message["t1_ns"])
            case "processes":
                worker = [self.engine.transport.pid] if self.engine.transport.pid is not None else []
                self.sampler.engine_started([*worker, *message["pids"]])
            case _:
                pass  # an answer that nobody waits for any more

    def _has_time_to_look(self, since_ns: int, next_due_in_ns: int | None) -> bool:
        """Looking around may take longer than a send may be late, so it waits for a gap in the schedule; not for ever."""
        is_gap = next_due_in_ns is None or next_due_in_ns > _LOOK_TAKES_NS
        return since_ns >= (_LOOK_AROUND_NS if is_gap else 3 * _LOOK_AROUND_NS // 2)

    def _look_around(self, now_ns: int) -> None:
        self.sampler.check()
        self.recorder.flush()
        under_way = self.recorder.under_way_since()
        late = [
            request
            for request, sent_ns in under_way.items()
            if now_ns - sent_ns > self.request_timeout_ns and request not in self._timed_out
        ]
        if late and self.as_batch and not self.engine.capabilities.batch_cancel:
            raise self._stuck(len(late), "this engine cannot end single requests of a static batch")
        given_up_ns = self.request_timeout_ns + max(self.request_timeout_ns, _PATIENCE_NS)
        deaf = [request for request, sent_ns in under_way.items() if now_ns - sent_ns > given_up_ns]
        if deaf and self.as_batch:
            raise self._stuck(len(deaf), "cancelling them did not help")
        if late:
            self._timed_out.update(late)
            self.engine.cancel(late)

    def _stuck(self, count: int, reason: str) -> MeasurementFailed:
        return MeasurementFailed(
            f"{count} requests of a static batch were not finished after {self.request_timeout_ns / NS_PER_S:g} s, and {reason}",
            "Allow more with run.request_timeout_s=, or ask for less with sampling.max_output_tokens= or load.batch_size=",
        )
