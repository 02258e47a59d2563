"""What every load shape is: it says which requests are due, and is told which ones ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Send:
    """Requests to be sent together. `requests` are positions in the list of measured requests; `due_ns` is when the shape wants them."""

    requests: range
    due_ns: int


class LoadShape(ABC):
    """A load over `total` requests. All times are on the run clock; no method waits."""

    static_batch: ClassVar[bool] = False
    """True: what is sent together runs together to its end, prefill apart from decode."""

    def __init__(self, total: int, max_concurrency: int) -> None:
        self.total = total
        self.max_concurrency = max_concurrency
        self.sent = 0
        self.ended = 0
        self.stopped = False

    def use_arrivals(self, arrivals_s: Sequence[float | None]) -> None:  # noqa: B027 - only traces need them
        """Arrival times of the prompts in the order of the requests, before `begin`. Raises `BadInput` where a trace lacks them."""

    def use_conversations(self, conversations: Sequence[Sequence[int]]) -> None:  # noqa: B027 - only `closed` waits for answers
        """The positions of the turns of each conversation, before `begin`; together they are all positions, in order of first turns.

        Only users who wait for answers can send the turns one after the other; other shapes send every request when it is due.
        """

    def begin(self, t_ns: int) -> None:
        """The measurement begins."""
        self.begin_ns = t_ns

    @abstractmethod
    def due(self, now_ns: int) -> list[Send]:
        """What has become due and was not returned before."""

    def next_due_ns(self) -> int | None:
        """When the next send is due, where that does not hang on an answer."""
        return None

    def upcoming(self, count: int) -> range:
        """Positions of the next `count` requests at most, where the shape knows them before they are due: what can be prepared."""
        return range(0)

    def finished(self, t_ns: int, position: int) -> None:
        """The request at a position ended, well or badly."""
        self.ended += 1

    def stop(self) -> None:
        """Send nothing more; what is under way may end."""
        self.stopped = True

    @property
    def done(self) -> bool:
        """Everything that is going to be sent has ended."""
        return self.ended == self.sent and (self.stopped or self.sent == self.total)

    def end_ns(self) -> int | None:
        """When the last scheduled interval ends (open loop); None where the measurement ends with the last answer."""
        return None

    def steady(self) -> tuple[int, int] | None:
        """The stretch with concurrency at its target, where the shape has one."""
        return None
