"""What trtllm-serve tells beside its answers: its clock, the times of each request, the statistics of its iterations.

`/metrics` and `/perf_metrics` hand each figure out once: whoever else reads them takes them away from us.
"""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from tpb_core.api import EngineSink, EventCode, MeasurementFailed
from tpb_engine_openai.address import Address
from tpb_engine_openai.questions import NoAnswer, Questions
from tpb_engine_trtllm.executor_clock import ExecutorClock, as_ns
from tpb_engine_trtllm.iterations import BadRow, read_rows
from tpb_engine_trtllm.perf_records import BadRecords, PerfRecord, Seen, assign, read_records, scheduled_together
from tpb_engine_trtllm.step_log import StepLog

_QUESTIONS_OF_THE_CLOCK = 5
_FIRST_TOKENS = 3
_ASK_S = 5.0
_STATS_PATIENCE_S = 3.0
_KEPT = 10_000


class ServeStatistics:
    """Asked by the engine's thread between answers; tokens are stamped elsewhere, so nothing waits for it but reports of ends."""

    def __init__(self, address: Address, headers: dict[str, str], log: StepLog, now_ns: Callable[[], int]) -> None:
        self._questions, self._log, self._now_ns = Questions(address, headers, _ASK_S), log, now_ns
        self._local = is_local(address.host)
        self.clock = ExecutorClock()
        self.no_step_log: str | None = "engine.step_log=false"
        self.reported_tokens = 0
        self.submitted_ns: dict[int, int] = {}
        """When each request under way was sent."""
        self._records: list[PerfRecord] = []

    def first_request(self, model: str, *, step_log: bool, request_metrics: bool) -> None:
        """Run one short request and judge by it what can be known of the others. Raises MeasurementFailed where it fails."""
        if request_metrics:
            self._ask_clock()
            self._pull_records()
        self._rows()
        self._records.clear()
        begin_ns = self._now_ns()
        body = {"model": model, "prompt": "The sun rises in the east.", "max_tokens": _FIRST_TOKENS, "ignore_eos": True, "top_k": 1}
        status, data = self._questions.ask("/v1/completions", body)
        end_ns = self._now_ns()
        if status != 200:
            words = f"trtllm-serve failed at a first request: HTTP {status} {data[:200]!r}"
            raise MeasurementFailed(words, f"Try it by hand:  curl {self._questions.address}/v1/completions")
        if request_metrics:
            self._pull_records()
            self._bracket(begin_ns, end_ns)
        if step_log:
            self.no_step_log = self._judge_rows(begin_ns)
        self._records.clear()

    def _ask_clock(self) -> None:
        """Two stamps of its steady clock, between our question and its answer; a few times, as the quickest answer tells most."""
        for _ in range(_QUESTIONS_OF_THE_CLOCK):
            self._ask_clock_once()

    def _ask_clock_once(self) -> None:
        before_ns = self._now_ns()
        status, data = self._questions.ask("/steady_clock_offset")
        after_ns = self._now_ns()
        try:
            document = json.loads(data) if status == 200 else None
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            return  # an older release: the first request has to do
        received, transmitted = as_ns(document.get("receive_ts")), as_ns(document.get("transmit_ts"))
        if received is not None and transmitted is not None:
            self.clock.bracket(before_ns, received, transmitted, after_ns)

    def _bracket(self, begin_ns: int, end_ns: int) -> None:
        if not self._records:
            self.clock.problem = "/perf_metrics gave nothing (return_perf_metrics and perf_metrics_max_requests of trtllm-serve)"
        elif self.clock.low_ns <= self.clock.high_ns:
            record = self._records[-1]
            self.clock.bracket(begin_ns, record.arrived_ns, record.last_token_ns, end_ns)

    def _judge_rows(self, begin_ns: int) -> str | None:
        if not self._local:
            return "the server stamps its iterations by the wall clock of another machine"
        rows: list[Any] = []
        give_up = time.monotonic() + _STATS_PATIENCE_S
        refusal: str | None = "not asked"
        while refusal is not None and time.monotonic() < give_up:
            rows += self._rows()
            refusal = self._log.refusal(rows, begin_ns, self._now_ns())
            time.sleep(0.1)
        self._log.forget([*rows, *self._rows()])
        return refusal

    def times_of(self, seen: Sequence[Seen]) -> dict[int, tuple[int | None, int]]:
        """Request -> (arrived, first scheduled) on the run clock, for those whose record is there. Arrived is None for requests that were
        scheduled together and whose records cannot be told apart.
        """
        if self.clock.problem is not None or not seen:
            return {}
        self._pull_records()
        found = assign(seen, self._records, self.clock)
        for record in found.values():
            self._records.remove(record)
        told = {request: (self.clock.ours(record.arrived_ns), self.clock.ours(record.scheduled_ns)) for request, record in found.items()}
        rest = [one for one in seen if one.request not in found]
        together = scheduled_together(rest, self._records, self.clock)
        return told | {request: (None, self.clock.ours(scheduled_ns)) for request, scheduled_ns in together.items()}

    def settle(self, sink: EngineSink) -> None:
        """All steps since the last time; an event where they do not add up to the tokens that came out."""
        if self.no_step_log is not None or self.reported_tokens == self._log.emitted_tokens:
            return
        give_up = time.monotonic() + _STATS_PATIENCE_S
        while time.monotonic() < give_up:
            self._log.report(self._rows(), sink)
            if self._log.emitted_tokens >= self.reported_tokens:
                break
            time.sleep(0.05)
        if self._log.emitted_tokens != self.reported_tokens:
            words = f"the server's iterations gave {self._log.emitted_tokens} output tokens and our requests {self.reported_tokens}"
            sink.event(EventCode.TOKENS_DIFFER, f"{words}: it had requests of others, or statistics were lost")
            self.reported_tokens = self._log.emitted_tokens

    def _rows(self) -> list[Any]:
        """Iterations since the last look; none where the server keeps no statistics."""
        try:
            status, data = self._questions.ask("/metrics")
            return read_rows(data) if status == 200 else []
        except (BadRow, NoAnswer):
            return []

    def _pull_records(self) -> None:
        try:
            status, data = self._questions.ask("/perf_metrics")
            self._records += read_records(data) if status == 200 else []
        except BadRecords:
            return
        except NoAnswer as error:
            self.clock.problem = f"/perf_metrics: {error.what}"  # not asked again: ends of requests wait for it
            return
        del self._records[:-_KEPT]

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._questions.close()


def is_local(host: str) -> bool:
    """Whether an address is this machine's own (a loopback address)."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
