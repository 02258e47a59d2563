"""What a session tells about its progress. Drawing is the report's business."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by the session, at most a few times a second."""

    def window(self, name: str, expected_s: float | None = None) -> None:
        """A window begins; `expected_s` is how long it will take, where that is known."""

    def requests(self, done: int, total: int) -> None:
        """Requests finished in the present window."""

    def note(self, text: str) -> None:
        """One line that the user should see now."""


class Silent:
    """Says nothing."""

    def window(self, name: str, expected_s: float | None = None) -> None:
        """Ignored."""

    def requests(self, done: int, total: int) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""
