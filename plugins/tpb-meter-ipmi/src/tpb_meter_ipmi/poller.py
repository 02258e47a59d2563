"""The thread that asks the controller: stamps before and after each request, opens the session again when it died.

It reports nothing itself. What it took waits, in order, until the meter's `read` takes it: readings, troubles, and the news of a session.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_meter_ipmi.link import CompletionError, Link, LinkError
from tpb_meter_ipmi.sources import Sample, Source

_MOST_WAITING = 10_000
_HEALTHY_S = 600.0
"""A session that lived so long was not broken: restarts are counted from the beginning again."""


@dataclass(frozen=True)
class Taken:
    """An answer to one request: a sample, or what is wrong instead."""

    source: str
    t_before_ns: int
    t_after_ns: int
    sample: Sample | None
    problem: str = ""


@dataclass(frozen=True)
class News:
    """Something that happened to the session."""

    code: EventCode
    message: str


class Poller:
    """Asks every source once a round. On a virtual clock `round` is called by the meter, and there is no thread."""

    def __init__(
        self,
        link: Link,
        reopen: Callable[[], Link],
        sources: list[Source],
        clock: Clock,
        *,
        interval_s: float,
        restarts: int,
        delay_s: float,
    ) -> None:
        self._link: Link | None = link
        self._reopen, self._sources, self._clock, self._interval_s = reopen, sources, clock, interval_s
        self._restarts, self._first_delay_s = restarts, delay_s
        self._restarts_left, self._delay_s = restarts, delay_s
        self._opened_s = time.monotonic()
        self._taken: collections.deque[Taken | News] = collections.deque(maxlen=_MOST_WAITING)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._thread = threading.Thread(target=self._go_on, name="ipmi-meter", daemon=True)
        self._thread.start()

    def take(self) -> list[Taken | News]:
        """What came since the last call."""
        taken = []
        while self._taken:
            taken.append(self._taken.popleft())
        return taken

    def stop(self, patience_s: float) -> None:
        """End the thread and the session. Idempotent."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(patience_s)
            if thread.is_alive() and (link := self._link) is not None:
                link.abort()
                thread.join(patience_s)
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def round(self) -> None:
        """Ask each source once. Raises LinkError when the session died."""
        link = self._link
        if link is None:
            raise LinkError("no session")
        for source in self._sources:
            if self._stop.is_set():
                return
            before_ns = self._clock.now_ns()
            try:
                sample, problem = source.read(link), ""
            except (CompletionError, ValueError) as error:
                sample, problem = None, str(error)
            self._taken.append(Taken(source.name, before_ns, self._clock.now_ns(), sample, problem))

    def _go_on(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set():
            try:
                self.round()
            except LinkError as error:
                if self._stop.is_set() or not self._open_again(str(error)):
                    return
            due_s = max(due_s + self._interval_s, time.monotonic())
            self._stop.wait(due_s - time.monotonic())

    def _open_again(self, problem: str) -> bool:
        """A new session in place of the dead one, within limits. False when there is none any more."""
        if time.monotonic() - self._opened_s > _HEALTHY_S:
            self._restarts_left, self._delay_s = self._restarts, self._first_delay_s
        while not self._stop.is_set():
            last_time = self._restarts_left <= 0
            if last_time:
                news = News(EventCode.METER_UNAVAILABLE, f"{problem}; the session is not opened again, its channels end here")
            else:
                self._restarts_left -= 1
                news = News(EventCode.METER_ERROR, f"{problem}; opening the session again ({self._restarts_left} more times)")
            self._taken.append(news)
            link, self._link = self._link, None
            if link is not None:
                link.close()
            if last_time:
                return False
            self._stop.wait(self._delay_s)
            self._delay_s *= 2
            if self._stop.is_set():
                return False
            try:
                self._link = self._reopen()
            except LinkError as error:
                problem = str(error)
            else:
                self._opened_s = time.monotonic()
                return True
        return False
