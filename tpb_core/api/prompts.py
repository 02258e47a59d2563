"""The prompt-source interface: prompts and conversations, with arrival times where the source is a trace. Runs in the session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from tpb_core.api.engine import Tokenizer
from tpb_core.api.options import option
from tpb_core.api.versions import PROMPTS_INTERFACE


@dataclass
class PromptsConfig:
    """Options that every prompt source has. A plugin's config class extends it."""

    name: str = option("???", help="entry-point name of the prompt source")
    shuffle: bool = option(False, help="draw the prompts in a random order (seeded by run.seed)")


@dataclass(slots=True)
class Prompt:
    """One prompt: exactly one of `text`, `messages` and `input_ids`.

    Text is sent as it is; messages go through the model's chat template once; input ids are used as they are.
    """

    prompt_id: str
    text: str | None = None
    messages: list[dict[str, Any]] | None = None
    input_ids: list[int] | None = None
    task: str | None = None
    source: str | None = None
    row: int | None = None
    output_tokens: int | None = None
    """The output length that the source prescribes (traces, length distributions); the load's own setting otherwise."""
    arrival_s: float | None = None
    """Seconds after the first arrival, where the source is a trace."""
    conversation_id: str | None = None
    turn: int | None = None
    extensions: dict[str, Any] = field(default_factory=dict)


@dataclass
class PromptContext:
    """What the core tells a prompt source."""

    seed: int
    tokenizer: Tokenizer | None = None
    """The engine's tokenizer; None where the engine has none, in which case exact lengths are refused."""


P_co = TypeVar("P_co", bound=PromptsConfig, covariant=True)


class PromptSource(ABC, Generic[P_co]):
    """One source of prompts, used by the session after the engine is loaded."""

    interface_version: ClassVar[str] = PROMPTS_INTERFACE
    config_class: ClassVar[type[PromptsConfig]] = PromptsConfig

    def __init__(self, config: P_co, context: PromptContext) -> None:
        self.config = config
        self.context = context

    @abstractmethod
    def prompts(self, count: int) -> Iterator[Prompt]:
        """At least one and at most `count` prompts; a source with fewer than `count` yields what it has, and the core begins again.

        Same config, seed and tokenizer: same prompts. Raises `BadInput` naming file, row and reason.
        """

    def longest_request_tokens(self, count: int, max_output_tokens: int) -> int | None:
        """The longest input plus output of the first `count` prompts, so that an engine can be loaded with room for them.

        Asked before there is a tokenizer: None where the lengths are not known by then. `max_output_tokens` is for prompts that prescribe
        no output length. Raises `BadInput` as `prompts` does.
        """
        return None

    def notes(self) -> list[str]:
        """What was skipped or cut while reading, one sentence each; shown with the run."""
        return []
