"""Server-sent events from bytes as they come: the data of each event, whatever the pieces were."""

from __future__ import annotations

_LARGEST_EVENT = 1 << 26


class EventTooLarge(ValueError):
    """An event has no end."""


class EventStream:
    """Follows the event-stream format of the HTML standard, of which only `data` matters here. Lines end with LF or CR LF."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._first = True

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that ended in this piece. Raises EventTooLarge."""
        if self._rest:
            piece = self._rest + piece
        lines = piece.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _LARGEST_EVENT:
            raise EventTooLarge("a line of the event stream has no end")
        events = []
        for line in lines:
            if line.endswith(b"\r"):
                line = line[:-1]
            if self._first:
                self._first = False
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line:
                if self._data:
                    events.append(b"\n".join(self._data))
                    self._data = []
            elif line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif line == b"data":
                self._data.append(b"")
        return events

    def end(self) -> list[bytes]:
        """What a server that closes without the last empty line had said; the standard discards it, and some servers rely on it."""
        events = self.feed(b"\n\n") if self._rest or self._data else []
        return [event for event in events if event]
