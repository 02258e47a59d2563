"""`closed`: N users, each of which sends its next request when the last one is answered, after a pause to think."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence

from tpb_core.api.units import NS_PER_S
from tpb_core.run.load.shape import LoadShape, Send


class ClosedShape(LoadShape):
    """`concurrency` users. A request is due when its user is ready, whatever the client is busy with.

    A user who has begun a conversation sends its turns one after the other before anything else.
    """

    def __init__(self, total: int, concurrency: int, think_time_s: float = 0.0) -> None:
        super().__init__(total, min(concurrency, total))
        self._think_ns = round(think_time_s * NS_PER_S)
        self._waiting: deque[deque[int]] = deque(deque([position]) for position in range(total))
        """Conversations that no user has begun, as the positions of their turns; a request on its own is one of one turn."""
        self._ready: list[tuple[int, int, deque[int]]] = []
        """Users who think: from when they are ready, a number that tells them apart, and the turns that are left to them."""
        self._sending: dict[int, deque[int]] = {}
        """By position of a request under way: the turns that its user sends after it."""
        self._users = 0
        self._first_unreplaced_ns: int | None = None

    def use_conversations(self, conversations: Sequence[Sequence[int]]) -> None:
        """See `LoadShape`."""
        self._waiting = deque(deque(positions) for positions in conversations)

    def begin(self, t_ns: int) -> None:
        """All users are ready at the start."""
        super().begin(t_ns)
        for _ in range(self.max_concurrency):
            if not self._next(t_ns, deque()):  # fewer conversations than users
                self._first_unreplaced_ns = t_ns

    def due(self, now_ns: int) -> list[Send]:
        """One send for each user who is ready."""
        sends = []
        while self._ready and self._ready[0][0] <= now_ns and not self.stopped:
            ready_ns, _, turns = heapq.heappop(self._ready)
            position = turns.popleft()
            self._sending[position] = turns
            sends.append(Send(range(position, position + 1), ready_ns))
            self.sent += 1
        return sends

    def next_due_ns(self) -> int | None:
        """When the next user has finished thinking."""
        return self._ready[0][0] if self._ready and not self.stopped else None

    def finished(self, t_ns: int, position: int) -> None:
        """The user begins to think; or leaves, where no request is left."""
        super().finished(t_ns, position)
        if not self._next(t_ns + self._think_ns, self._sending.pop(position)) and self._first_unreplaced_ns is None:
            self._first_unreplaced_ns = t_ns

    def _next(self, ready_ns: int, turns: deque[int]) -> bool:
        """Give a user the next turn of the conversation, or another conversation. False where nothing is left."""
        if self.stopped or not (turns or self._waiting):
            return False
        self._users += 1
        heapq.heappush(self._ready, (ready_ns, self._users, turns or self._waiting.popleft()))
        return True

    def steady(self) -> tuple[int, int] | None:
        """From the start, when all users send, until the first one leaves. None with pauses: concurrency is below its target then."""
        if self._think_ns or self._first_unreplaced_ns is None or self._first_unreplaced_ns <= self.begin_ns:
            return None
        return self.begin_ns, self._first_unreplaced_ns
