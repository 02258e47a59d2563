"""Part of the engine suite: no cache that was not asked for, and nothing left after the end."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import Request
from tpb_core.testing.engine_fixtures import EngineFixtures
from tpb_core.testing.engine_session import EngineSession, engine_class
from tpb_core.testing.recording_sink import RecordingSink

REPEATS = 3
ATTEMPTS = 4
FALLS = 0.5
"""A repeated prompt whose first token comes in less than this share of the time was not computed again."""


class EngineLifetime(EngineFixtures):
    """Caches, and giving everything back."""

    def test_prefix_cache_is_really_off(self, session: EngineSession) -> None:
        """A repeated prompt is computed again: no cached tokens, and its first token takes as long as that of a new prompt.

        On the path that `run` takes and, where the engine has both, on the one that streams take.
        """
        if session.description.prefix_cache or session.config.prefix_cache:
            pytest.skip("the configuration under test has its prefix cache on")
        ways = [session.run]
        if session.capabilities.static_batch and session.capabilities.concurrent_streams:
            ways.append(session.stream)
        for way in ways:
            self._first_token_ns(session, way, 0)
            told = []
            for attempt in range(ATTEMPTS):  # a cache shows each time; a busy machine does not
                words = [attempt * REPEATS + repeat for repeat in range(1, REPEATS + 1)]
                pairs = [(self._first_token_ns(session, way, word), self._first_token_ns(session, way, word)) for word in words]
                told.append(f"first token of new prompts and of the same again, in ns: {pairs}")
                if min(again for _, again in pairs) >= FALLS * min(new for new, _ in pairs):
                    break
            else:
                pytest.fail("repeated prompts get their first token too soon: " + "; ".join(told))

    def _first_token_ns(self, session: EngineSession, way: Callable[[Sequence[Request], RecordingSink], None], first_word: int) -> int:
        """Run one long prompt, see that all of it was computed, and return the time to its first token (0 where it is not known)."""
        sampling = self.sampling(max_output_tokens=2, exact_output_length=session.capabilities.exact_output_length)
        sink = RecordingSink()
        way(session.requests(1, self.context_tokens - 2 * self.output_tokens, sampling, first_word=first_word), sink)
        recorded = sink.requests[0]
        assert recorded.cached_tokens == 0, f"{recorded.cached_tokens} tokens of a prompt came from a cache"
        if session.capabilities.step_log:
            assert sum(step.prefill_tokens for step in sink.steps) >= recorded.input_tokens
        return 0 if recorded.started_ns is None or not recorded.tokens else recorded.first_token_ns - recorded.started_ns

    def test_reset_caches_keeps_the_engine_usable(self, session: EngineSession, sink: RecordingSink) -> None:
        """Between repeats that keep the worker."""
        session.engine.reset_caches()
        self.run_requests(session, sink, self.sampling())
        assert sink.requests[0].status == "ok"

    def test_close_may_come_first_and_twice(self, config: Any) -> None:
        """Without open, and again."""
        engine = engine_class(config)(config, self.context(config))
        engine.close()
        engine.close()

    def test_nothing_is_left_after_close(self, config: Any, sink: RecordingSink) -> None:
        """Child processes and threads are gone, and opening again and again does not grow this process."""
        threads = set(threading.enumerate())
        grown_mib = []
        for _ in range(3):
            session = EngineSession(config, self.context(config))
            session.open()
            self.run_requests(session, RecordingSink(), self.sampling(max_output_tokens=2))
            children = session.engine.processes()
            session.engine.close()
            session.engine.close()
            deadline = time.monotonic() + 30.0
            while (alive := [pid for pid in children if _is_alive(pid)]) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert not alive, f"processes {alive} outlived close"
            del session
            gc.collect()
            grown_mib.append(_resident_mib())
        left = [thread for thread in threading.enumerate() if thread not in threads and not thread.daemon]
        assert not left, f"threads outlived close: {left}"
        assert grown_mib[2] - grown_mib[0] < self.leak_mib, f"resident memory after each close, in MiB: {grown_mib}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _resident_mib() -> float:
    """Resident memory of this process; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if statm.exists() else 0.0
