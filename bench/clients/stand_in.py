"""The server that all tools load: `tpb_core.testing.openai_double` in a process of its own, which stamps arrivals and first tokens."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

FIRST_TOKEN_S, TOKEN_S = 0.005, 0.01


class StandIn:
    """One stand-in that runs."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def stamps(self) -> tuple[npt.NDArray[np.int64], int]:
        """Requests since the last call, one row each in the order of arrival, and the most that were under way at once.

        A row is CLOCK_MONOTONIC in ns when the request was there in full, and when its first token left (-1: none did).
        """
        told = json.loads(self._page("/double/stamps"))
        rows = [[*row, -1][:2] for row in told["stamps"]]
        return np.array(rows, np.int64).reshape(-1, 2), int(told["most_running"])

    def open_streams(self) -> int:
        """Requests under way now."""
        found = re.search(rb"^vllm:num_requests_running\{.*\} ([0-9.]+)$", self._page("/metrics"), re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    def _page(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", path)
        page = connection.getresponse().read()
        connection.close()
        return page


@contextmanager
def stand_in(first_token_s: float = FIRST_TOKEN_S, token_s: float = TOKEN_S) -> Iterator[StandIn]:
    """Start one, end it."""
    command = [sys.executable, "-m", "tpb_core.testing.openai_double", "--first-token-s", str(first_token_s), "--token-s", str(token_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield StandIn(int(process.stdout.readline().rpartition(":")[2]))
        finally:
            process.kill()


def off_schedule_ms(arrived_ns: npt.NDArray[np.int64], rate: float) -> npt.NDArray[np.float64]:
    """How far each arrival is from a schedule of equal gaps 1 / `rate` (s): absolute values, in ms.

    The schedule's origin is not known to the server, so the median deviation is taken off: a delay that all requests share, the way
    through the network among it, is no lateness.
    """
    deviations_ms = (arrived_ns - arrived_ns[0]) / 1e6 - 1e3 * np.arange(len(arrived_ns)) / rate
    return np.abs(deviations_ms - np.median(deviations_ms))
