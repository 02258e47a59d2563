"""An event loop in a thread of its own that reports to the thread which owns it: requests under way while the engine does other things."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from tpb_core.api.units import NS_PER_S

_LOOK_S = 0.005
R = TypeVar("R")


class ReportingLoop(Generic[R]):
    """`report` is called in the loop's thread, everything else by the owner's."""

    def __init__(self, name: str, now_ns: Callable[[], int]) -> None:
        """`name` is the thread's."""
        self._now_ns = now_ns
        self._reports: deque[R] = deque()
        self._wake_fd, self._signal_fd = os.pipe()
        os.set_blocking(self._wake_fd, False)
        os.set_blocking(self._signal_fd, False)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def report(self, report: R, *, wake: bool) -> None:
        """Tell the owner something. Without `wake` it waits until the owner looks, within 5 ms where it does nothing but wait."""
        self._reports.append(report)
        if wake:
            with contextlib.suppress(BlockingIOError):  # full: it is awake
                os.write(self._signal_fd, b"\0")

    def fileno(self) -> int:
        """Readable when something that wakes was reported since the last `take`."""
        return self._wake_fd

    def wait(self, until_ns: int) -> None:
        """Return when there is something to take, at `until_ns` at the latest."""
        while not self._reports and (left_s := (until_ns - self._now_ns()) / NS_PER_S) > 0:
            select.select([self._wake_fd], [], [], min(left_s, _LOOK_S))

    def take(self) -> list[R]:
        """What was reported since the last call, in order."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_fd, 1 << 12)
        reports = []
        while self._reports:
            reports.append(self._reports.popleft())
        return reports

    def close(self, last: Callable[[], Coroutine[Any, Any, None]], patience_s: float) -> None:
        """Run `last` in the loop, then end the thread. Idempotent."""
        if self.loop.is_closed():
            return
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(last(), self.loop).result(patience_s)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5.0)
        self.loop.close()
        os.close(self._wake_fd)
        os.close(self._signal_fd)
