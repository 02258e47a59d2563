"""A dcgm-exporter on loopback: collects at its own interval, repeats its page until then, and can be told to misbehave."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from tpb_core.testing.dcgm_double.machine import DcgmMachine

TAGS = {
    155: ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W)."),
    156: ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Total energy consumption since boot (in mJ)."),
    150: ("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C)."),
    100: ("DCGM_FI_DEV_SM_CLOCK", "gauge", "SM clock frequency (in MHz)."),
}
NOT_SUPPORTED = 9223372036854775794
"""What some exporters print for a whole-number field that a device does not have."""


class Exporter:
    """`with Exporter(machine, collect_s=0.2) as exporter: exporter.url`.

    `cut` sends half of each page under a full Content-Length, `failing` answers 500, `frozen` stops collecting.
    """

    def __init__(self, machine: DcgmMachine, collect_s: float = 30.0) -> None:
        self.machine, self.collect_s = machine, collect_s
        self.cut = self.failing = self.frozen = False
        self.requests = 0
        self._page, self._collected_s = "", float("-inf")
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/metrics"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def page(self) -> str:
        """The page as of the last collection."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._collected_s >= self.collect_s and not (self.frozen and self._page):
                self._page, self._collected_s = self._collect(), now_s
            return self._page

    def _collect(self) -> str:
        lines = []
        t_ns = time.monotonic_ns()
        for number, (tag, kind, words) in TAGS.items():
            lines += [f"# HELP {tag} {words}", f"# TYPE {tag} {kind}"]
            for index, gpu in enumerate(self.machine.gpus):
                labels = f'gpu="{index}",UUID="{gpu.uuid}",device="nvidia{index}",modelName="{gpu.name}",Hostname="node \\"1\\""'
                labels += f',DCGM_FI_DRIVER_VERSION="{gpu.driver}"'
                slices = [f',GPU_I_PROFILE="1g.10gb",GPU_I_ID="{n}"' for n in (7, 8)] if gpu.sliced else [""]
                value = self.machine.value("GPU", index, number, t_ns)
                text = NOT_SUPPORTED if value is None else (f"{value:f}" if isinstance(value, float) else value)
                lines += [f"{tag}{{{labels}{one}}} {text}" for one in slices]
        return "\n".join(lines) + "\n"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exporter.requests += 1
                if exporter.failing:
                    self.send_error(500)
                    return
                body = exporter.page().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if exporter.cut else body)

            def log_message(self, *arguments: object) -> None:
                """Say nothing: the test's output is its own."""

        return Handler
