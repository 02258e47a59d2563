"""Part of the engine suite: static batches, concurrent requests, and the step log of both."""

from __future__ import annotations

import pytest

from tpb_core.testing import engine_accounts
from tpb_core.testing.engine_fixtures import EngineFixtures
from tpb_core.testing.engine_session import EngineSession
from tpb_core.testing.recording_sink import RecordingSink


class EngineSteps(EngineFixtures):
    """What the engine does at once, and what it says it did."""

    def test_static_batch_adds_up(self, session: EngineSession, sink: RecordingSink) -> None:
        """Steps in order, prefill before decode, members add up; padding is counted apart."""
        if not session.capabilities.static_batch:
            pytest.skip("capability static_batch is not claimed")
        session.engine.run_batch(
            session.requests(self.requests, self.input_tokens, self.sampling(), shorter_by=7, longer_output_by=1), sink
        )
        for recorded in sink.requests.values():
            engine_accounts.check_request(recorded, token_stamps=session.capabilities.token_stamps)
        self.check_steps(session, sink)
        if session.capabilities.step_log:
            engine_accounts.check_static_batch(sink)

    def test_streams_add_up_and_run_at_once(self, session: EngineSession, sink: RecordingSink) -> None:
        """Requests submitted together are under way together, and the step log adds up."""
        if not session.capabilities.concurrent_streams:
            pytest.skip("capability concurrent_streams is not claimed")
        session.stream(session.requests(self.requests, self.input_tokens, self.sampling(max_output_tokens=4 * self.output_tokens)), sink)
        for recorded in sink.requests.values():
            engine_accounts.check_request(recorded, token_stamps=session.capabilities.token_stamps)
        assert engine_accounts.largest_overlap(sink.requests.values(), served=session.capabilities.served) == self.requests
        self.check_steps(session, sink)
        if session.capabilities.step_members:
            assert any(len(step.members or ()) >= 2 for step in sink.steps), "no step had two requests: they ran one after the other"

    def test_a_request_joins_while_another_runs(self, session: EngineSession, sink: RecordingSink) -> None:
        """A request that is submitted later starts before the first one ends."""
        if not session.capabilities.concurrent_streams:
            pytest.skip("capability concurrent_streams is not claimed")
        long, short = session.requests(2, self.input_tokens, self.sampling(max_output_tokens=8 * self.output_tokens))
        short.sampling = self.sampling()
        session.submit([long], sink)
        session.advance_until(sink, lambda: bool(sink.requests.get(0) and sink.requests[0].tokens))
        session.submit([short], sink)
        session.advance_until(sink, lambda: False)
        for recorded in sink.requests.values():
            engine_accounts.check_request(recorded, token_stamps=session.capabilities.token_stamps)
        assert engine_accounts.largest_overlap(sink.requests.values(), served=session.capabilities.served) == 2
        self.check_steps(session, sink)

    def test_a_cancelled_request_leaves_its_static_batch(self, session: EngineSession, sink: RecordingSink) -> None:
        """It keeps the tokens that it has, and the others go on."""
        if not (session.capabilities.static_batch and session.capabilities.batch_cancel):
            pytest.skip("capability batch_cancel is not claimed")
        asked = session.requests(2, self.input_tokens, self.sampling(max_output_tokens=8 * self.output_tokens))

        def cancelled() -> list[int]:
            first = sink.requests.get(0)
            return [0] if first is not None and first.tokens and first.status is None else []

        session.context.cancelled = cancelled
        try:
            session.engine.run_batch(asked, sink)
        finally:
            session.context.cancelled = tuple
        assert sink.requests[0].status == "cancelled"
        assert 0 < sink.requests[0].counted_tokens < 8 * self.output_tokens
        engine_accounts.check_request(sink.requests[1], token_stamps=session.capabilities.token_stamps)
        assert sink.requests[1].output_tokens == 8 * self.output_tokens
        if session.capabilities.step_log:
            engine_accounts.check_steps_hold_tokens(sink, session.drafts)
            engine_accounts.check_static_batch(sink)

    def test_cancelled_requests_say_so_and_others_go_on(self, session: EngineSession, sink: RecordingSink) -> None:
        """`cancel` ends one request and leaves the other."""
        if not session.capabilities.concurrent_streams:
            pytest.skip("capability concurrent_streams is not claimed")
        first, second = session.requests(2, self.input_tokens, self.sampling(max_output_tokens=8 * self.output_tokens))
        session.submit([first, second], sink)
        session.advance_until(sink, lambda: len(sink.requests) == 2 and all(recorded.tokens for recorded in sink.requests.values()))
        session.engine.cancel([first.request], sink)
        session.advance_until(sink, lambda: False)
        assert sink.requests[0].status == "cancelled"
        assert sink.requests[0].counted_tokens < 8 * self.output_tokens
        engine_accounts.check_request(sink.requests[1], token_stamps=session.capabilities.token_stamps)
        assert sink.requests[1].output_tokens == 8 * self.output_tokens
        if session.capabilities.step_log:
            engine_accounts.check_steps_hold_tokens(sink, session.drafts)
