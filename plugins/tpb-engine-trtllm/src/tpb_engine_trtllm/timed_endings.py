"""Ends of requests to trtllm-serve: held until the server was asked for their times, which is once for all that ended together."""

from __future__ import annotations

from tpb_core.api import EngineSink
from tpb_engine_openai.ending import Endings
from tpb_engine_openai.exchange import Ended
from tpb_engine_trtllm.perf_records import Seen
from tpb_engine_trtllm.serve_statistics import ServeStatistics


class TimedEndings(Endings):
    """Stands before the OpenAI client's reports of ends: adds when a request arrived at the executor and when it was first scheduled."""

    def __init__(self, endings: Endings, statistics: ServeStatistics) -> None:
        self._endings, self._statistics = endings, statistics
        self._held: list[Ended] = []

    def report(self, end: Ended, sink: EngineSink) -> None:
        """Hold it until `flush`."""
        self._held.append(end)

    def flush(self, sink: EngineSink) -> None:
        """Tell the sink how the held requests ended."""
        held, self._held = self._held, []
        seen = []
        for end in held:
            self._statistics.reported_tokens += end.answer.output_tokens or end.answer.stamped_tokens
            submitted_ns = self._statistics.submitted_ns.pop(end.request, None)
            if end.status == "ok" and submitted_ns is not None:
                first_ns = end.answer.first_text_ns if end.answer.first_text_ns is not None else end.t_ns
                seen.append(Seen(end.request, submitted_ns, first_ns, end.t_ns))
        times = self._statistics.times_of(seen)
        for end in held:
            if end.request in times:
                arrived_ns, scheduled_ns = times[end.request]
                sink.started(end.request, scheduled_ns, arrived_ns)
            self._endings.report(end, sink)
