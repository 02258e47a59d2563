"""The thread that asks one service: stamps before and after each request, goes on after failures with growing pauses.

It reports nothing itself. What it took waits until the meter's `read` takes it, so a slow or dead service holds nobody up.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tpb_core.api.clock import Clock
from tpb_meter_redfish.channels import Described
from tpb_meter_redfish.client import Client, ServiceError
from tpb_meter_redfish.value import number, stamp_ns

_MOST_WAITING = 20_000
_LONGEST_PAUSE_S = 30.0
_FOR_ALL = (0, 400, 401)
"""Nobody there, or no login: asked again after a pause that grows, because services lock users out."""
_SELDOM = 10
"""What is not allocated to the run is read once in so many rounds."""


@dataclass(frozen=True)
class Taken:
    """One number of one answer, or what is wrong instead."""

    channel: str
    t_before_ns: int
    t_after_ns: int
    value: float | None
    source_ns: int | None = None
    problem: str = ""


class Poller:
    """Asks for each resource once a round and takes all its numbers from the one answer."""

    def __init__(self, client: Client, described: Sequence[Described], clock: Clock, interval_s: float) -> None:
        self._client, self._clock, self._interval_s = client, clock, interval_s
        self._often = _by_path([item for item in described if item.channel.allocated])
        self._seldom = _by_path([item for item in described if not item.channel.allocated])
        self._rounds = 0
        self._pause_s = 0.0
        self._taken: collections.deque[Taken] = collections.deque(maxlen=_MOST_WAITING)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._thread = threading.Thread(target=self._go_on, name="redfish-meter", daemon=True)
        self._thread.start()

    def take(self) -> list[Taken]:
        """What came since the last call."""
        taken = []
        while self._taken:
            taken.append(self._taken.popleft())
        return taken

    def stop(self) -> None:
        """End the thread, log out, close. Idempotent."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(1.0)
            if thread.is_alive():
                self._client.abort()
                thread.join(2.0)
        self._client.close()

    def round(self) -> None:
        """Ask once."""
        seldom = self._seldom if self._rounds % _SELDOM == 0 else {}
        self._rounds += 1
        for path, items in [*self._often.items(), *seldom.items()]:
            if self._stop.is_set():
                return
            before_ns = self._clock.now_ns()
            try:
                document = self._client.get(path)
            except ServiceError as error:
                after_ns = self._clock.now_ns()
                self._taken.extend(Taken(item.channel.channel, before_ns, after_ns, None, problem=str(error)) for item in items)
                if error.status in _FOR_ALL:  # the other resources would fail in the same way, one time-out or login after the other
                    self._pause_s = min(max(2 * self._pause_s, self._interval_s), _LONGEST_PAUSE_S)
                    return
                continue
            after_ns = self._clock.now_ns()
            self._pause_s = 0.0
            self._taken.extend(_take(item, document, before_ns, after_ns) for item in items)

    def _go_on(self) -> None:
        due_s = time.monotonic()
        while not self._stop.is_set():
            self.round()
            due_s = max(due_s + self._interval_s, time.monotonic() + self._pause_s)
            self._stop.wait(due_s - time.monotonic())


def _by_path(described: Sequence[Described]) -> dict[str, list[Described]]:
    paths: dict[str, list[Described]] = {}
    for item in described:
        paths.setdefault(item.quantity.path, []).append(item)
    return paths


def _take(item: Described, document: object, before_ns: int, after_ns: int) -> Taken:
    name, quantity = item.channel.channel, item.quantity
    try:
        value = number(document, quantity.pointer)
    except ValueError as error:
        return Taken(name, before_ns, after_ns, None, problem=str(error))
    if value is None:
        return Taken(name, before_ns, after_ns, None, problem="the service has no value at the moment")
    source_ns = stamp_ns(document, quantity.stamp) if quantity.stamp else None
    return Taken(name, before_ns, after_ns, value * quantity.factor, source_ns)
