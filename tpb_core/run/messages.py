"""Framed JSON messages over a pair of pipes: how the session talks to its sampler and its engine worker. Never pickle.

A frame is a 4-byte big-endian length and that many bytes of UTF-8 JSON, an object with the key `kind`. The first message each way
carries the protocol version.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import struct
import time
from typing import Any

from tpb_core.api.errors import TpbError

Message = dict[str, Any]
_LENGTH = struct.Struct(">I")
_LARGEST_FRAME = 1 << 30
_PIPE_BYTES = 1 << 20


class ConnectionLost(Exception):
    """The other end closed its pipe: it ended or was killed."""


class Connection:
    """One end of a two-way pipe. Owns both file descriptors. Not for more than one thread."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        os.set_blocking(write_fd, False)
        with contextlib.suppress(OSError, AttributeError):  # a prompt of 50,000 tokens in one go; where the system allows it
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._buffer = bytearray()

    def fileno(self) -> int:
        """The descriptor to wait on for messages to come."""
        return self._read_fd

    def send(self, message: Message) -> None:
        """Write one message. Raises `ConnectionLost` where nobody reads any more.

        Where the pipe is full, what the other end has to say is taken in meanwhile, so that two ends that both write cannot wait for
        each other for ever.
        """
        body = json.dumps(message, separators=(",", ":"), default=_plain).encode()
        view = memoryview(_LENGTH.pack(len(body)) + body)
        while view:
            try:
                view = view[os.write(self._write_fd, view) :]
            except BlockingIOError:
                readable, _, _ = select.select([self._read_fd], [self._write_fd], [])
                if readable:
                    self._fill()
            except OSError as error:
                raise ConnectionLost(str(error)) from error

    def receive(self, timeout_s: float | None = None, also: int | None = None) -> Message | None:
        """The next message; None after `timeout_s`, or as soon as the descriptor `also` becomes readable. Raises `ConnectionLost`."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while (message := self._pop()) is None:
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            watched = [self._read_fd] if also is None else [self._read_fd, also]
            ready, _, _ = select.select(watched, [], [], left_s)
            if self._read_fd not in ready:  # time is up, or somebody wants attention
                return None
            self._fill()
        return message

    def _fill(self) -> None:
        try:
            data = os.read(self._read_fd, 1 << 20)
        except OSError as error:
            raise ConnectionLost(str(error)) from error
        if not data:
            raise ConnectionLost("closed by the other end")
        self._buffer += data

    def _pop(self) -> Message | None:
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > _LARGEST_FRAME:
            raise ConnectionLost(f"a frame of {length} bytes is not one of ours; something else writes into the pipe")
        if len(self._buffer) < _LENGTH.size + length:
            return None
        body = bytes(self._buffer[_LENGTH.size : _LENGTH.size + length])
        del self._buffer[: _LENGTH.size + length]
        message: Message = json.loads(body)
        return message

    def close(self) -> None:
        """Close both descriptors. Idempotent."""
        for fd in {self._read_fd, self._write_fd}:
            if fd >= 0:
                os.close(fd)
        self._read_fd = self._write_fd = -1


def _plain(value: Any) -> Any:
    """Values that plugins put into descriptions and that JSON does not know: tuples of numpy scalars, sets, paths."""
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if hasattr(value, "item"):
        return value.item()
    return str(value)


def error_message(error: BaseException, phase: str, distribution: str) -> Message:
    """The message that carries an error to the session, which raises it again as the same kind."""
    if isinstance(error, TpbError):
        return {
            "kind": "error",
            "class": type(error).__name__,
            "exit_code": error.exit_code,
            "what": error.what,
            "fix": error.fix,
            "notes": list(error.notes),
            "reason": str(getattr(error, "reason", "")) or None,
        }
    import traceback

    return {
        "kind": "error",
        "class": "PluginFault",
        "exit_code": 1,
        "what": f"{distribution} failed while {phase}: {type(error).__name__}: {error}",
        "fix": None,
        "notes": [],
        "reason": None,
        "traceback": "".join(traceback.format_exception(error)),
    }


def raise_error(message: Message) -> None:
    """Raise what `error_message` described, as bad input, a refusal or a failed measurement."""
    from tpb_core.api.errors import BadInput, MeasurementFailed, Refused

    kinds: dict[int, type[TpbError]] = {2: BadInput, 3: Refused}
    error = kinds.get(message["exit_code"], MeasurementFailed)(message["what"], message["fix"], message["notes"])
    if message.get("traceback"):
        error.add_note(message["traceback"])
    raise error
