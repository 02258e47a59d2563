"""One Redfish service: kept-alive HTTPS, a session token or basic authentication, JSON in."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tpb_core.api.credentials import Credentials

_MOST_BYTES = 4_000_000
_SESSIONS = "/redfish/v1/SessionService/Sessions"
_PATH = re.compile(r"/(?!/)[\x21-\x7e]*")
_REDIRECTS = (301, 302, 307, 308)


class ServiceError(Exception):
    """No usable answer: nothing reached, time-out, TLS refused, no JSON. `status` is HTTP's, where there was one."""

    def __init__(self, what: str, status: int = 0, *, certificate: bool = False) -> None:
        super().__init__(what)
        self.status, self.certificate = status, certificate


@dataclass(frozen=True)
class Address:
    """Where a service is. `host` may be an IPv6 address."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def parse_address(url: str) -> Address:
    """From `https://host[:port]`, `host`, with or without a path. Raises ValueError."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError(f"{url.rpartition('@')[2]!r} is not https://HOST[:PORT] without user and password")
    return Address(parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))


class Client:
    """Used by one thread at a time; `abort` may be called by another one."""

    def __init__(self, address: Address, auth: str, credentials: Credentials | None, tls: ssl.SSLContext | None, timeout_s: float) -> None:
        self.address, self._auth, self._credentials, self._timeout_s = address, auth, credentials, timeout_s
        if address.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                address.host, address.port, timeout=timeout_s, context=tls
            )
        else:
            self._connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
        self._token = self._session = ""
        self._aborted = threading.Event()

    def get(self, path: str) -> dict[str, Any]:
        """The resource at a path of this service. Logs in (again) where the service wants it. Raises ServiceError."""
        if not _PATH.fullmatch(path):
            raise ServiceError(f"{path[:80]!r} is not a path of this service", 404)  # a token is shown to nobody else
        if self._auth == "session" and not self._token:
            self._log_in()
        status, _, body = self._request("GET", path)
        if status == 401 and self._auth == "session":  # expired
            self._token = ""
            self._log_in()
            status, _, body = self._request("GET", path)
        if status != 200:
            raise ServiceError(f"{path} answers {status} {http.client.responses.get(status, '')}".rstrip(), status)
        return _object(body, path)

    def close(self) -> None:
        """Log out and close. Idempotent."""
        token, self._token = self._token, ""
        if token and self._session and not self._aborted.is_set():
            with contextlib.suppress(ServiceError):
                self._request("DELETE", self._session, token=token)
        self._connection.close()

    def abort(self) -> None:
        """Make a request that waits in another thread fail now."""
        self._aborted.set()
        sock = self._connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _log_in(self) -> None:
        assert self._credentials is not None
        body = json.dumps({"UserName": self._credentials.user, "Password": self._credentials.password})
        status, headers, _ = self._request("POST", _SESSIONS, body)
        if status not in (200, 201, 202) or not headers.get("X-Auth-Token"):
            raise ServiceError(f"{_SESSIONS} answers {status} {http.client.responses.get(status, '')} to the login".rstrip(), status or 1)
        self._token = headers["X-Auth-Token"]
        location = urlsplit(headers.get("Location", "")).path
        self._session = location if _PATH.fullmatch(location) else ""

    def _request(self, method: str, path: str, body: str | None = None, token: str = "") -> tuple[int, http.client.HTTPMessage, bytes]:
        """(status, headers, body); a connection that the service closed meanwhile is opened again, once."""
        headers = {"Accept": "application/json", "OData-Version": "4.0"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if token or (self._token and body is None):
            headers["X-Auth-Token"] = token or self._token
        elif self._auth == "basic" and self._credentials is not None:
            pair = f"{self._credentials.user}:{self._credentials.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        kept_alive = self._connection.sock is not None
        for last_try in (not kept_alive, True):
            if self._aborted.is_set():
                raise ServiceError("closed")
            try:
                self._connection.request(method, path, body, headers)
                answer = self._connection.getresponse()
                text = answer.read(_MOST_BYTES + 1)
            except TimeoutError as error:
                self._connection.close()
                raise ServiceError(f"no answer within {self._timeout_s:g} s") from error
            except ssl.SSLCertVerificationError as error:
                self._connection.close()
                raise ServiceError(f"its certificate is not trusted: {error.verify_message}", certificate=True) from error
            except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
                self._connection.close()
                if last_try:
                    raise ServiceError(f"{type(error).__name__}: {error}") from error
                continue
            if len(text) > _MOST_BYTES:
                self._connection.close()
                raise ServiceError(f"{path} answers with more than {_MOST_BYTES} bytes")
            if answer.status in _REDIRECTS:
                raise ServiceError(f"{path} is moved to {answer.headers.get('Location', 'nowhere')[:100]!r}", answer.status)
            return answer.status, answer.headers, text
        raise AssertionError("the second try returns or raises")


def _object(body: bytes, path: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServiceError(f"{path} is no JSON: {str(error)[:80]}", 200) from error
    if not isinstance(document, dict):
        raise ServiceError(f"{path} is no JSON object", 200)
    return document
