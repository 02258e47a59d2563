"""The way through a dcgm-exporter: its page is fetched by a thread, and its age is known from when the page changes.

The exporter collects at its own interval (30 s unless told otherwise) and repeats the same values until then. A repeated page says
nothing new, so values are handed on when the page changed; they were taken between the two requests around the change.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import itertools
import statistics
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable

from tpb_core.api import Reason, Unavailable
from tpb_core.api.clock import Clock
from tpb_meter_dcgm.config import DcgmConfig
from tpb_meter_dcgm.entity import Entity, Value
from tpb_meter_dcgm.fields import ENERGY
from tpb_meter_dcgm.page import PageEntity, parse_page

LOCAL = "http://127.0.0.1:9400/metrics"
TIMEOUT_S = 3.0
MOST_BYTES = 16_000_000
WATCH_S = 2.5
WATCH_PAUSE_S = 0.05
LATE_FACTOR = 3.0
DEFAULT_COLLECT_MS = 30_000.0
Page = dict[tuple[str, int], PageEntity]


class ExporterBackend:
    """`period_ms` is the exporter's collect interval: the option's, seen at start, or its default where it is longer than the look."""

    name = "exporter"

    def __init__(self, config: DcgmConfig, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self.url = config.url or LOCAL
        self.period_ms = config.collect_ms or DEFAULT_COLLECT_MS
        self.period_source = "assumed: the exporter's default"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # metrics are never behind a proxy
        self._taken: collections.deque[Value] = collections.deque()
        self._complaints: collections.deque[str] = collections.deque(maxlen=100)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._last: Page = {}
        self._asked_ns = 0
        self._changed_ns = 0
        self._told_stale = False

    def discover(self) -> list[Entity]:
        """Raises Unavailable: `unreachable` where nothing answers, `no_sensor` where the page holds no energy or power."""
        try:
            page, _, received_ns = self._fetch()
        except (OSError, http.client.HTTPException, ValueError) as error:
            fix = "Start dcgm-exporter, or set meter.dcgm.url=http://HOST:9400/metrics"
            raise Unavailable(f"{self.url} does not answer: {error}", reason=Reason.UNREACHABLE, fix=fix) from error
        if not page:
            fix = "Check the page, and add DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION to the exporter's list of fields"
            raise Unavailable(f"{self.url} shows no field of DCGM that is read here", reason=Reason.NO_SENSOR, fix=fix)
        if self._config.collect_ms:
            self.period_source = "option collect_ms"
        else:
            self._look_for_period(page, received_ns)
        return [Entity(e.kind, e.index, frozenset(e.values), e.uuid, e.model, e.sliced, e.driver) for e in page.values()]

    def _look_for_period(self, page: Page, received_ns: int) -> None:
        """Watch the page for a moment: an interval shorter than that shows itself."""
        changes: list[int] = []
        while self._clock.now_ns() < received_ns + WATCH_S * 1e9 and len(changes) < 6:
            self._clock.sleep_until(self._clock.now_ns() + round(WATCH_PAUSE_S * 1e9))
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                fresh, _, now_ns = self._fetch()
                if _content(fresh) != _content(page):
                    page = fresh
                    changes.append(now_ns)
        gaps = [(b - a) / 1e6 for a, b in itertools.pairwise(changes)]
        if len(gaps) >= 2:
            self.period_ms, self.period_source = statistics.median(gaps), "seen at start"

    def open(self) -> None:
        """Start the thread that asks."""
        self._stop.clear()
        self._asked_ns = self._clock.now_ns() - round(self.period_ms * 1e6)
        self._changed_ns = self._clock.now_ns()
        self._last = {}
        self._thread = threading.Thread(target=self._ask_for_ever, name="dcgm-exporter", daemon=True)
        self._thread.start()

    def read(self) -> Iterable[Value]:
        """Values of pages that changed since the last call."""
        values = []
        with contextlib.suppress(IndexError):
            while True:
                values.append(self._taken.popleft())
        return values

    def complaints(self) -> list[str]:
        """Requests that failed, and pages that have not changed for long."""
        told = []
        with contextlib.suppress(IndexError):
            while True:
                told.append(self._complaints.popleft())
        return told

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2 * TIMEOUT_S)
            self._thread = None

    def _ask_for_ever(self) -> None:
        pause_s = min(self._config.scrape_ms, self.period_ms / 2) / 1e3
        while not self._stop.is_set():
            try:
                self._take(*self._fetch())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._complaints.append(f"{self.url}: {error}")
            self._stop.wait(max(pause_s, 0.01))

    def _take(self, page: Page, asked_ns: int, received_ns: int) -> None:
        """Hand on a page that changed: all GPUs are collected together, so one value that moved dates them all.

        A page on which nothing can move (no counter, steady power) is handed on once a collect interval.
        """
        age_ns = received_ns - self._changed_ns
        if _content(page) != _content(self._last) or (age_ns >= self.period_ms * 1e6 and not _has_counter(page)):
            for entity in page.values():
                for known, value in entity.values.values():
                    self._taken.append(Value(entity.kind, entity.index, known, value, self._asked_ns, received_ns))
            self._changed_ns, self._told_stale = received_ns, False
        elif age_ns > LATE_FACTOR * self.period_ms * 1e6 and not self._told_stale:
            self._told_stale = True
            self._complaints.append(f"{self.url} repeats the same values since {age_ns / 1e9:.0f} s")
        self._last, self._asked_ns = page, asked_ns

    def _fetch(self) -> tuple[Page, int, int]:
        """The page with the run times before and after the request. Raises OSError, HTTPException (a body cut off) or ValueError."""
        asked_ns = self._clock.now_ns()
        with self._opener.open(self.url, timeout=TIMEOUT_S) as answer:
            body = answer.read(MOST_BYTES)
            if answer.length:  # a read of limited size does not notice by itself that the body ended early
                raise http.client.IncompleteRead(body, answer.length)
        return parse_page(body.decode("utf-8", errors="replace")), asked_ns, self._clock.now_ns()


def _content(page: Page) -> dict[tuple[str, int], dict[int, float]]:
    return {key: {number: value for number, (_, value) in entity.values.items()} for key, entity in page.items()}


def _has_counter(page: Page) -> bool:
    return any(ENERGY.number in entity.values for entity in page.values())
