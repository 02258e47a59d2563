"""A Redfish service on loopback: TLS with its own certificate, sessions that expire, numbers that change while they are read."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tpb_core.testing.bmc_double.certificate import make_certificate
from tpb_core.testing.bmc_double.redfish_tree import ROOT, Tree, root

USER, PASSWORD = "reader-7", "loop:back"
_SESSIONS = f"{ROOT}/SessionService/Sessions"


class RedfishService:
    """`with RedfishService(folder) as bmc: bmc.url`; fill `bmc.tree` with `redfish_tree` before or meanwhile.

    `folder` None: plain http. `delay_s` before each answer, `broken` maps a path to a status or to the bytes of a body, `requests`
    and `sessions` (open ones) count, `logins` counts logins; `locked` refuses them.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.tree: Tree = {}
        root(self.tree)
        self.delay_s = 0.0
        self.broken: dict[str, int | bytes] = {}
        self.requests: list[str] = []
        self.connections = 0
        self.sessions: dict[str, str] = {}
        self.logins = 0
        self.locked = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.certificate: Path | None = None
        if folder is not None:
            self.certificate, key = make_certificate(folder)
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(self.certificate, key)
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Address of the service."""
        return f"http{'s' if self.certificate else ''}://127.0.0.1:{self._server.server_address[1]}"

    def expire(self) -> None:
        """Forget all sessions, as a service does after a while or a restart."""
        self.sessions.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body) of a request."""
        self.requests.append(f"{method} {path}")
        if self.delay_s:
            time.sleep(self.delay_s)
        if method == "POST" and path == _SESSIONS:
            return self._log_in(body)
        path = path.rstrip("/")
        if path != ROOT and not self._allowed(headers):
            return 401, {}, b'{"error": {"code": "Base.1.8.NoValidSession"}}'
        if method == "DELETE":
            self.sessions = {token: location for token, location in self.sessions.items() if location != path}
            return 204, {}, b""
        broken = self.broken.get(path)
        if isinstance(broken, bytes):
            return 200, {}, broken
        resource = self.tree.get(path)
        if broken is not None or resource is None:
            return broken or 404, {}, b'{"error": {"code": "Base.1.8.GeneralError"}}'
        return 200, {}, json.dumps(_present(resource)).encode()

    def _log_in(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        try:
            given = json.loads(body)
        except ValueError:
            given = {}
        if self.locked or given != {"UserName": USER, "Password": PASSWORD}:
            return 401, {}, b"{}"
        self.logins += 1
        token, location = f"token-{self.logins}-{time.monotonic_ns()}", f"{_SESSIONS}/{self.logins}"
        self.sessions[token] = location
        return 201, {"X-Auth-Token": token, "Location": location}, b"{}"

    def _allowed(self, headers: Any) -> bool:
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return headers.get("X-Auth-Token") in self.sessions or headers.get("Authorization") == f"Basic {pair}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30
            wbufsize = 65_536
            disable_nagle_algorithm = True

            def setup(self) -> None:
                service.connections += 1
                super().setup()

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # a client that refuses our certificate, or leaves
                    self.close_connection = True

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, headers, text = service.answer(self.command, self.path, self.headers, body)
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_DELETE = _serve

            def log_message(self, *arguments: object) -> None:
                """Say nothing: the test's output is its own."""

        return Handler


def _present(value: Any) -> Any:
    """A resource with its functions replaced by what they say now."""
    if callable(value):
        return value()
    if isinstance(value, dict):
        return {key: _present(inner) for key, inner in value.items()}
    return [_present(inner) for inner in value] if isinstance(value, list) else value
