"""Long prompts on their way to the engine before they are due, so that they are not late by the time that writing them takes."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tpb_core.api.requests import Request
from tpb_core.api.units import NS_PER_MS
from tpb_core.run.engine_client import EngineClient
from tpb_core.run.load import LoadShape

NEVER_NS = sys.maxsize
_LONG_PROMPT_TOKENS = 2_000
"""A prompt of so many is given to the engine before it is due: writing and reading 50,000 token ids takes some 15 ms. A shorter one is
given in less than a request may be late."""
_MOST_REQUESTS = 8
_TAKES_NS = 20 * NS_PER_MS
"""What one prompt may take in session and worker: so long before the next request is due nothing is prepared any more."""


class PreparedRequests:
    """The requests of one load, made when they are sent or, if they are long, in a gap of the schedule before. Session process."""

    def __init__(self, engine: EngineClient, shape: LoadShape, request_at: Callable[[int], Request]) -> None:
        self._engine, self._shape, self._request_at = engine, shape, request_at
        self._made: dict[int, Request] = {}
        self._free_ns = 0

    def take(self, position: int, now_ns: int) -> Request:
        """The request of a position, prepared or not, which is sent now: nothing else is asked of the engine until it is on its way."""
        self._free_ns = max(self._free_ns, now_ns + _TAKES_NS)
        return self._made.pop(position, None) or self._request_at(position)

    def prepare(self, now_ns: int, next_due_ns: int | None) -> int:
        """Hand over the next long prompt that is due, where there is time for it. Returns when to come back for another; the end of
        time where there is none. Before the load begins, `next_due_ns` is the end of time too.
        """
        if next_due_ns is None or next_due_ns - max(now_ns, self._free_ns) < _TAKES_NS:
            return NEVER_NS
        if now_ns < self._free_ns:
            return self._free_ns
        for position in self._shape.upcoming(_MOST_REQUESTS):
            if position not in self._made:
                request = self._made[position] = self._request_at(position)
                if len(request.input_ids or ()) >= _LONG_PROMPT_TOKENS:
                    self._engine.prepare(request)
                    self._free_ns = now_ns + _TAKES_NS
                    return self._free_ns
        return NEVER_NS
