"""A session with a management controller, as the rest of the plugin sees it: request bytes, answer bytes."""

from __future__ import annotations

from typing import Protocol

COMPLETION_CODES = {
    0xC1: "invalid command", 0xC3: "timed out", 0xC9: "parameter out of range", 0xCA: "cannot return so many bytes",
    0xCB: "sensor or record not present", 0xCC: "invalid data", 0xCE: "no answer could be provided", 0xD4: "insufficient privilege",
    0xD5: "not supported in the present state", 0xC5: "reservation cancelled", 0xC0: "busy",
}  # fmt: skip
INSUFFICIENT_PRIVILEGE = 0xD4


class CompletionError(Exception):
    """The controller answered and refused; the session goes on."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the controller answers {COMPLETION_CODES.get(code, 'an error')} (0x{code:02x})")
        self.code = code


class LinkError(Exception):
    """The session is gone or cannot be had: no answer, wrong user or password, no cipher suite in common."""


class Link(Protocol):
    """One open session. Used by one thread at a time; `abort` may be called by another one."""

    backend: str
    """Who speaks IPMI, with its version."""
    details: str
    """Interface, cipher suite and privilege, for the manifest."""

    def request(self, netfn: int, command: int, data: bytes = b"") -> bytes:
        """Data of the answer after the completion code. Raises CompletionError and LinkError."""
        ...

    def close(self) -> None:
        """Log out and give everything back. Idempotent."""
        ...

    def abort(self) -> None:
        """Make a request that is waiting in another thread fail soon."""
        ...
