"""The end of a request: counts of server and tokenizer held against each other, the server's own stamps, the report to the sink."""

from __future__ import annotations

from tpb_core.api import EngineSink, EventCode, Request
from tpb_core.api.units import NS_PER_MS
from tpb_engine_openai.answer import Answer, ServerSaid
from tpb_engine_openai.exchange import Ended
from tpb_engine_openai.tokenizers_of import FileTokenizer

_RETOKENISED = 0.02
"""Text turned into tokens again need not give the tokens it was made of; a larger difference is told."""


class Endings:
    """Reports ends. Without usage from the server, output tokens are the limit where the server says that it stopped there, else what
    a tokenizer of our own makes of the text, else NULL. The server's tokenizer is not asked: that would be work for what is measured.
    """

    def __init__(self, tokenizer: FileTokenizer | None, *, chat: bool, prefix_cache: bool) -> None:
        self._tokenizer, self._chat, self._prefix_cache = tokenizer, chat, prefix_cache

    def report(self, end: Ended, sink: EngineSink) -> None:
        """Tell the sink how a request ended."""
        if end.status != "ok":
            sink.failed(end.request, end.t_ns, end.status, end.error)
            return
        answer = end.answer
        try:
            reason = answer.reason()
            if answer.sequences != answer.request.sampling.n:
                raise ServerSaid(f"the server returned {answer.sequences} of {answer.request.sampling.n} sequences")
        except ServerSaid as said:
            sink.failed(end.request, end.t_ns, said.status, str(said))
            return
        request = answer.request
        output_tokens = self._output_tokens(answer, sink)
        limit = request.sampling.max_output_tokens * request.sampling.n
        if request.sampling.exact_output_length and output_tokens is not None and output_tokens != limit:
            self._differ(sink, request, f"{limit} output tokens were asked for exactly, and {output_tokens} came")
        if answer.cached_tokens and not self._prefix_cache:
            sink.event(EventCode.PREFIX_REUSED, f"the server took {answer.cached_tokens} prompt tokens from its cache", request.request)
        self._server_stamps(answer, sink)
        sink.finished(
            request.request,
            end.t_ns,
            reason or ("length" if output_tokens == limit else "stop"),
            input_tokens=self._input_tokens(answer, sink),
            output_tokens=output_tokens,
            cached_tokens=answer.cached_tokens,
            sequences=answer.sequences,
            preemptions=None,
            text=answer.text(),
        )

    def _input_tokens(self, answer: Answer, sink: EngineSink) -> int | None:
        request = answer.request
        own: int | None = None
        if request.input_ids is not None:
            own = len(request.input_ids)
        elif self._tokenizer is not None and not self._chat and request.text is not None:
            own = self._tokenizer.prompt_tokens(request.text)
        if own is not None and answer.input_tokens is not None and own != answer.input_tokens:
            self._differ(sink, request, f"the server counts {answer.input_tokens} input tokens and we count {own}")
        return own if answer.input_tokens is None else answer.input_tokens

    def _output_tokens(self, answer: Answer, sink: EngineSink) -> int | None:
        told = answer.output_tokens if answer.output_tokens is not None else answer.stamped_tokens or None
        if told is not None and answer.stamped_tokens == told and not answer.without_stamps:
            return told  # two counts of the server agree: in sum, and one by one
        if told is None and answer.all_at_limit:
            told = answer.request.sampling.max_output_tokens * answer.request.sampling.n
        if self._tokenizer is None:
            return told
        counted = sum(len(ids) for ids in self._tokenizer.encode(answer.texts()))
        room = round(_RETOKENISED * counted) + answer.sequences  # the end token of each sequence is not in its text
        if told is not None and abs(told - counted) > room:
            self._differ(sink, answer.request, f"the server counts {told} output tokens and its text makes {counted}")
        return counted if told is None else told

    def _server_stamps(self, answer: Answer, sink: EngineSink) -> None:
        """The server's own times, put on our clock by the first token, which came by the way over the network later than it was made."""
        first_ns = answer.first_text_ns
        if first_ns is None or answer.ttft_ms is None or answer.queue_ms is None:
            return
        queued_ns = first_ns - round(answer.ttft_ms * NS_PER_MS)
        started_ns = min(queued_ns + round(answer.queue_ms * NS_PER_MS), first_ns)
        sink.started(answer.request.request, started_ns, queued_ns)

    def _differ(self, sink: EngineSink, request: Request, message: str) -> None:
        sink.event(EventCode.TOKENS_DIFFER, message, request.request)
