"""What goes to an engine (requests with exact sampling) and what comes back (steps with their members)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

REQUEST_STATUSES = ("ok", "error", "timeout", "cancelled", "rejected", "unfinished")
ROLES_OF_REQUESTS = ("warmup", "measured")


@dataclass(slots=True)
class Sampling:
    """How output tokens are chosen. Identical on every engine or refused: there is no engine default hidden behind an absent value."""

    max_output_tokens: int
    exact_output_length: bool = False
    """True: end-of-sequence tokens do not end the request, so that exactly `max_output_tokens` come out."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = 0
    """0 is off."""
    n: int = 1
    beam_width: int = 1
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def features(self) -> set[str]:
        """The names of the features in use, to be held against `Capabilities.sampling`."""
        used = {
            "temperature": self.temperature > 0,
            "top_p": self.top_p < 1,
            "top_k": self.top_k > 0,
            "n": self.n > 1,
            "beam_width": self.beam_width > 1,
            "stop": bool(self.stop),
            "exact_output_length": self.exact_output_length,
        }
        return {name for name, in_use in used.items() if in_use}


@dataclass(slots=True)
class Request:
    """One request as the engine gets it. Token ids where the engine takes them; else text or chat messages that the server renders."""

    request: int
    """Ordinal in the run, from 0; the key of requests.parquet and of step members."""
    request_id: str
    sampling: Sampling
    input_ids: list[int] | None = None
    text: str | None = None
    messages: list[dict[str, Any]] | None = None
    prompt_id: str | None = None
    conversation_id: str | None = None
    turn: int | None = None


class Member(NamedTuple):
    """A request's part in one step: tokens computed for it, tokens that came out, KV length at the start of the step."""

    request: int
    prefill_tokens: int
    decode_tokens: int
    emitted_tokens: int
    kv_tokens: int


@dataclass(slots=True)
class Step:
    """One iteration of an engine instance; a row of steps.parquet (its docstring for each column is run-bundle's)."""

    t0_ns: int
    t1_ns: int
    prefill_tokens: int
    decode_tokens: int
    emitted_tokens: int
    instance: str = "0"
    time_source: str = "host"
    draft_tokens: int | None = None
    accepted_tokens: int | None = None
    recomputed_tokens: int | None = None
    prefill_padding_tokens: int | None = None
    decode_padding_tokens: int | None = None
    kv_tokens: int | None = None
    prefill_kv_tokens: int | None = None
    members: list[Member] | None = field(default=None)
    """None: not known. An empty list: nobody."""
