"""What became of one request: filled in by the engine's reports, sent to the session as one message when the request ends."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Outcome:
    """Columns of requests.parquet that the engine knows. Times in ns of the run clock."""

    request: int
    status: str = "unfinished"
    finish_reason: str | None = None
    error: str | None = None
    engine_queued_ns: int | None = None
    engine_started_ns: int | None = None
    first_token_ns: int | None = None
    finished_ns: int | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    sequences: int | None = None
    preemptions: int | None = None
    token_ns: list[int] = field(default_factory=list)
    text: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The message body."""
        return asdict(self)

    @classmethod
    def from_json(cls, message: dict[str, Any]) -> Outcome:
        """From a message; its key `kind` is left out."""
        return cls(**{key: value for key, value in message.items() if key != "kind"})
