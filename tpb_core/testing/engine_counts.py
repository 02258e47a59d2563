"""Part of the engine suite: tokens, lengths, seeds and stamps of requests."""

from __future__ import annotations

import pytest

from tpb_core.testing import engine_accounts
from tpb_core.testing.engine_fixtures import EngineFixtures
from tpb_core.testing.engine_session import EngineSession
from tpb_core.testing.recording_sink import RecordingSink


class EngineCounts(EngineFixtures):
    """What a request means, the same on every engine."""

    def test_counts_and_times_of_one_request(self, session: EngineSession, sink: RecordingSink) -> None:
        """Input as given, output as asked, first token before last."""
        self.run_requests(session, sink, self.sampling())
        recorded = sink.requests[0]
        engine_accounts.check_request(recorded, token_stamps=session.capabilities.token_stamps)
        assert recorded.output_tokens == self.output_tokens
        assert recorded.reason == "length"
        if session.capabilities.token_input:
            assert recorded.input_tokens == self.input_tokens
        if session.capabilities.token_stamps:
            assert recorded.first_token_ns < recorded.last_token_ns

    def test_exact_output_length_for_each_request(self, session: EngineSession, sink: RecordingSink) -> None:
        """Requests that run together keep lengths of their own, prompts of different lengths included."""
        self.run_requests(session, sink, self.sampling(), self.requests, shorter_by=7, longer_output_by=1)
        for recorded in sink.requests.values():
            engine_accounts.check_request(recorded, token_stamps=session.capabilities.token_stamps)
            assert recorded.output_tokens == self.output_tokens + recorded.request

    def test_natural_length_is_at_most_the_limit(self, session: EngineSession, sink: RecordingSink) -> None:
        """Without an exact length the limit still holds, and the reason says which of the two it was. A count may be unknown (None)."""
        self.run_requests(session, sink, self.sampling(exact_output_length=False))
        recorded = sink.requests[0]
        engine_accounts.check_request(recorded, token_stamps=session.capabilities.token_stamps)
        assert recorded.output_tokens is None or 0 < recorded.output_tokens <= self.output_tokens
        assert recorded.reason == "stop" or recorded.output_tokens == self.output_tokens

    def test_same_seed_same_count(self, session: EngineSession) -> None:
        """Drawing tokens with one seed gives the same output twice, alone and beside other requests."""
        sinks = [RecordingSink(), RecordingSink(), RecordingSink()]
        sampling = self.sampling(temperature=1.0, top_p=0.9, seed=7, exact_output_length=False)
        for sink, count in zip(sinks, (1, 1, self.requests), strict=True):
            if count > 1 and not (session.capabilities.static_batch or session.capabilities.concurrent_streams):
                continue
            self.run_requests(session, sink, sampling, count)
            assert sink.requests[0].output_tokens == sinks[0].requests[0].output_tokens
            assert sink.requests[0].ids == sinks[0].requests[0].ids

    def test_several_sequences(self, session: EngineSession, sink: RecordingSink) -> None:
        """`n` sequences are counted together."""
        self.run_requests(session, sink, self.sampling(n=2, temperature=1.0, seed=1))
        assert sink.requests[0].sequences == 2
        assert sink.requests[0].output_tokens == 2 * self.output_tokens
        self.check_steps(session, sink)

    def test_beam_search(self, session: EngineSession, sink: RecordingSink) -> None:
        """One result of the length that was asked."""
        self.run_requests(session, sink, self.sampling(beam_width=2))
        engine_accounts.check_request(sink.requests[0], token_stamps=session.capabilities.token_stamps)
        assert sink.requests[0].output_tokens == self.output_tokens
        self.check_steps(session, sink)

    def test_stop_string_ends_the_output(self, session: EngineSession, sink: RecordingSink) -> None:
        """A piece of the greedy output, used as stop string, ends the same output earlier, and is not in the text."""
        free = RecordingSink()
        self.run_requests(session, free, self.sampling())
        if "stop" not in session.capabilities.sampling or not free.requests[0].text:
            pytest.skip("sampling feature stop is not claimed, or the engine gives no text")
        text = free.requests[0].text
        mark = text[len(text) // 2]
        self.run_requests(session, sink, self.sampling(stop=(mark,)))
        assert sink.requests[0].reason == "stop"
        assert sink.requests[0].output_tokens is None or 0 < sink.requests[0].output_tokens <= self.output_tokens
        assert sink.requests[0].text == text[: text.index(mark)]
        self.check_steps(session, sink)
