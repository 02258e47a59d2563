"""Reads a server's metrics at its own pace in a thread of its own, so that a slow answer delays no other meter."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tpb_core.api.units import NS_PER_S
from tpb_engine_openai.metric_names import NAMES, channel_values
from tpb_engine_openai.prometheus import NotPrometheus, read_metrics
from tpb_engine_openai.questions import NoAnswer, Questions

ENERGY_PATH = "/energy_metrics"
_EDGE_S = 2.0
"""Longest time for which a reading at the edge of a window is waited for."""


class Scrape(NamedTuple):
    """One look: values by channel with the clock before and after, or what went wrong."""

    t_before_ns: int
    t_after_ns: int
    values: dict[str, float]
    problem: str


def scrape(questions: Questions, path: str, now_ns: Callable[[], int]) -> Scrape:
    """Ask once for the metrics."""
    before_ns = now_ns()
    try:
        status, body = questions.ask(path)
    except NoAnswer as error:
        return Scrape(before_ns, now_ns(), {}, error.what)
    after_ns = now_ns()
    if status != 200:
        return Scrape(before_ns, after_ns, {}, f"{path} answers HTTP {status}")
    try:
        return Scrape(before_ns, after_ns, channel_values(read_metrics(body.decode("utf-8", "replace"), NAMES)), "")
    except NotPrometheus as error:
        return Scrape(before_ns, after_ns, {}, f"{path}: {error}")


def scrape_energy(questions: Questions, now_ns: Callable[[], int]) -> Scrape:
    """Ask once for the energy counter of TensorRT-LLM: `{"total_energy_j": float, ...}`."""
    before_ns = now_ns()
    try:
        status, body = questions.ask(ENERGY_PATH)
        document = json.loads(body) if status == 200 else {}
        joules = document.get("total_energy_j") if isinstance(document, dict) else None
    except (NoAnswer, ValueError, RecursionError) as error:
        return Scrape(before_ns, now_ns(), {}, f"{ENERGY_PATH}: {error}")
    after_ns = now_ns()
    if isinstance(joules, (int, float)) and not isinstance(joules, bool) and 0 <= joules < 1e15:
        return Scrape(before_ns, after_ns, {"gpu_energy": float(joules)}, "")
    return Scrape(before_ns, after_ns, {}, f"{ENERGY_PATH} answers HTTP {status} and no energy")


class Scraper:
    """The thread. `take` hands out what it has read since the last call."""

    def __init__(self, looks: list[Callable[[], Scrape]], questions: Questions, interval_s: float, now_ns: Callable[[], int]) -> None:
        self._looks, self._questions, self._interval_ns, self._now_ns = looks, questions, round(interval_s * NS_PER_S), now_ns
        self._scrapes: deque[Scrape] = deque(maxlen=10_000)
        self._edge_ns = 0
        self._wake = threading.Event()
        self._stopped = False
        self._looked = threading.Condition()
        self._last_look_ns = 0
        self._thread = threading.Thread(target=self._run, name="server-metrics", daemon=True)
        self._thread.start()

    def look_now(self) -> None:
        """Read as soon as possible; the next `take` waits for it. For edges of windows, which counters have to enclose."""
        self._edge_ns = self._now_ns()
        self._wake.set()

    def take(self) -> list[Scrape]:
        """In order of time."""
        with self._looked:
            self._looked.wait_for(lambda: self._last_look_ns >= self._edge_ns, timeout=_EDGE_S)
        self._edge_ns = 0
        taken = []
        while self._scrapes:
            taken.append(self._scrapes.popleft())
        return taken

    def close(self) -> None:
        """End the thread; waits for a question that is being asked."""
        self._stopped = True
        self._wake.set()
        self._thread.join(15.0)
        self._questions.close()

    def _run(self) -> None:
        due_ns = self._now_ns()
        while not self._stopped:
            begin_ns = self._now_ns()
            for look in self._looks:
                self._scrapes.append(look())
            with self._looked:
                self._last_look_ns = begin_ns
                self._looked.notify_all()
            while due_ns <= self._now_ns():
                due_ns += self._interval_ns
            self._wake.wait((due_ns - self._now_ns()) / NS_PER_S)
            self._wake.clear()
