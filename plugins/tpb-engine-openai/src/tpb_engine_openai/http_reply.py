"""HTTP/1.1 replies from bytes as they come, without input or output: status, headers, pieces of the body, the end."""

from __future__ import annotations

_LONGEST_HEAD = 1 << 16
_LONGEST_SIZE_LINE = 1 << 12


class BadReply(ValueError):
    """What the server sent is not HTTP/1.1, or ended too early."""


class HttpReply:
    """The reply to one request. `feed` bytes until `complete`; `status` is 0 until the head is there."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        """Names in lower case; values of repeated headers joined by commas."""
        self.complete = False
        self.keep_alive = False
        """Whether the connection can take another request after this one."""
        self._buffer = bytearray()
        self._left: int | None = None
        """Bytes that are left of the body or of the present chunk; None: until the connection ends."""
        self._chunked = False
        self._trailers = False

    def feed(self, data: bytes) -> bytes:
        """The body bytes in `data`. Raises BadReply."""
        self._buffer += data
        if self.status == 0 and not self._take_head():
            return b""
        body = self._take_chunks() if self._chunked else self._take_plain()
        if self.complete and self._buffer:
            raise BadReply("the server sent more than its reply")
        return body

    def end(self) -> None:
        """The connection ended. Raises BadReply where the reply had not."""
        if self.complete:
            return
        if self.status == 0:
            raise BadReply("the server closed the connection without a reply")
        if self._chunked or self._left:
            raise BadReply("the connection ended in the middle of the reply")
        self.complete, self.keep_alive = True, False

    def _take_head(self) -> bool:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _LONGEST_HEAD:
                    raise BadReply("the head of the reply has no end")
                return False
            head = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
            del self._buffer[: end + 4]
            version, _, rest = head[0].partition(" ")
            code = rest[:3]
            if (
                version not in ("HTTP/1.1", "HTTP/1.0")
                or not (code.isascii() and code.isdigit() and len(code) == 3)
                or code[0] not in "12345"
            ):
                raise BadReply(f"not a reply of HTTP/1.1: {head[0][:80]!r}")
            if code[0] != "1":  # 100 Continue and its like precede the reply
                break
        headers: dict[str, str] = {}
        for line in head[1:]:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip() or not name:
                raise BadReply(f"not a header: {line[:80]!r}")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.headers = headers
        self._read_framing(int(code), version)
        self.status = int(code)
        return True

    def _read_framing(self, status: int, version: str) -> None:
        connection = self.headers.get("connection", "").lower()
        self.keep_alive = version == "HTTP/1.1" and "close" not in connection
        encoding = self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length")
        if status in (204, 304):
            self.complete = True
        elif encoding == "chunked":
            self._chunked, self._left = True, 0
        elif encoding not in ("", "identity"):
            raise BadReply(f"transfer encoding {encoding!r} was not asked for")
        elif length is not None:
            if not (length.isascii() and length.isdigit()) or len(length) > 15:
                raise BadReply(f"content length {length[:40]!r} is no number")
            self._left = int(length)
            self.complete = self._left == 0

    def _take_plain(self) -> bytes:
        if self.complete:
            return b""
        if self._left is None:
            body = bytes(self._buffer)
            self._buffer.clear()
            return body
        body = bytes(self._buffer[: self._left])
        del self._buffer[: self._left]
        self._left -= len(body)
        self.complete = self._left == 0
        return body

    def _take_chunks(self) -> bytes:
        pieces = []
        while not self.complete:
            if self._left:  # chunk data, and the line end after it
                piece = bytes(self._buffer[: self._left])
                del self._buffer[: len(piece)]
                self._left -= len(piece)
                if self._left:
                    pieces.append(piece)
                    break
                pieces.append(piece)
                self._left = None
            if self._left is None:
                if len(self._buffer) < 2:
                    break
                if self._buffer[:2] != b"\r\n":
                    raise BadReply("a chunk of the reply is longer than it says")
                del self._buffer[:2]
                self._left = 0
            end = self._buffer.find(b"\r\n")
            if end < 0:
                if len(self._buffer) > _LONGEST_SIZE_LINE:
                    raise BadReply("a chunk size of the reply has no end")
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 2]
            if self._trailers:
                self.complete = not line
                continue
            digits = line.split(b";", 1)[0].strip()
            if not digits or len(digits) > 12 or digits.strip(b"0123456789abcdefABCDEF"):
                raise BadReply(f"not a chunk size: {line[:40]!r}")
            self._left = int(digits, 16)
            self._trailers = self._left == 0
        return b"".join(pieces)
