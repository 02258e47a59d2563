"""A session held by pyghmi, a client in pure Python: RMCP+ with cipher suite 17 or 3, or the local device file."""

from __future__ import annotations

import contextlib
import importlib
import struct
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from tpb_meter_ipmi.link import CompletionError, LinkError

PRIVILEGE_LEVELS = {"USER": 2, "OPERATOR": 3, "ADMINISTRATOR": 4}
_TURN_S = 0.001


class PyghmiLink:
    """pyghmi keeps sockets and one thread for the life of the process; they are idle between requests."""

    def __init__(self, host: str, port: int, user: str, password: str, *, privilege: str, timeout_s: float) -> None:
        """Log in; with an empty host, open /dev/ipmi0. Raises LinkError, ImportError without pyghmi."""
        command = importlib.import_module("pyghmi.ipmi.command")
        self._failure: type[Exception] = importlib.import_module("pyghmi.exceptions").PyghmiException

        self.backend = f"pyghmi {metadata.version('pyghmi')}"
        self.details = f"rmcp+, {privilege}" if host else "device"
        self._command: Any = None
        self._timeout_s, self._aborted = timeout_s, False
        try:
            if host:
                # As bytes: given text, pyghmi 1.6.19 keeps a session that was logged out and hands it out again at the next login.
                self._command = command.Command(host, user.encode(), password.encode(), port=port, privlevel=PRIVILEGE_LEVELS[privilege])
            else:
                self._command = command.Command()
        except self._failure as error:
            raise LinkError(f"pyghmi: {error}") from error
        except (struct.error, IndexError, KeyError, TypeError, ValueError) as error:
            # Seen against servers that answer with a shorter hash than was offered (pyghmi's own server does).
            raise LinkError(f"pyghmi and the controller agree on no cipher suite ({error}); meter.ipmi.backend=ipmitool") from error
        except OSError as error:
            raise LinkError(f"pyghmi: {error}") from error

    def request(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        """One raw request. Raises CompletionError and LinkError."""
        try:
            answer = self._ask(netfn, command, data)
        except (self._failure, OSError, struct.error, IndexError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise LinkError(f"pyghmi: {error}") from error
        code = answer.get("code", 0)
        if 0 < code < 0x100:
            raise CompletionError(code)
        if code:
            raise LinkError(f"pyghmi: {answer.get('error', 'no answer')}")
        return bytes(answer.get("data", b""))

    def _ask(self, netfn: int, command: int, data: bytes) -> Mapping[str, Any]:
        """The answer as pyghmi has it.

        Its own waiting can miss an answer that comes before it waits (always so on loopback) and then sleeps until the retry, half a
        second later. So the answer is taken by a callback, and pyghmi's loop is turned by hand meanwhile.
        """
        session = self._command.ipmi_session
        if not hasattr(session, "wait_for_rsp"):  # the local device
            local: Mapping[str, Any] = session.raw_command(netfn=netfn, command=command, data=tuple(data))
            return local
        answers: list[Mapping[str, Any]] = []
        deadline = time.monotonic() + self._timeout_s
        session.raw_command(netfn=netfn, command=command, data=tuple(data), callback=answers.append)
        try:
            while not answers:
                session.wait_for_rsp(timeout=0)
                if answers:
                    break
                if session.broken or self._aborted or time.monotonic() > deadline:
                    raise LinkError("pyghmi: the session broke" if session.broken else f"no answer within {self._timeout_s:g} s")
                time.sleep(_TURN_S)
        finally:  # with a callback this is the caller's to do
            session.incommand = False
            while session.evq:
                session.evq.popleft().set()
        return answers[0]

    def abort(self) -> None:
        """Stop waiting for an answer."""
        self._aborted = True

    def close(self) -> None:
        """Log out, so that the controller has its session back. Idempotent."""
        session, self._command = getattr(self._command, "ipmi_session", None), None
        if session is None:
            return
        with contextlib.suppress(Exception):  # a session that broke cannot be logged out of
            if hasattr(session, "logout"):
                session.logout()
            else:
                session.ipmidev.close()
