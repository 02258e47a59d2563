"""The load that every tool is asked for, and what a tool has to be able to do to be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Load:
    """Requests with equal gaps at `rate` a second, or, without a rate, `streams` of them under way at a time."""

    requests: int
    input_tokens: int
    output_tokens: int
    rate: float | None = None
    streams: int | None = None


class Tool(Protocol):
    """One load client with an interpreter of its own."""

    name: str

    def command(self, load: Load, url: str, folder: Path) -> list[str]:
        """What starts it against the server at `url`; its results go into `folder`."""

    def environment(self) -> dict[str, str]:
        """Environment variables that it needs."""

    def first_tokens_ms(self, folder: Path) -> list[float]:
        """The time to first token of each request by its own account, in the order in which it sent them. Failed requests are left out."""
