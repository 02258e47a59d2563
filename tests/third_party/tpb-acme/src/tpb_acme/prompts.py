"""Prompts about anvils."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tpb_core.api import Prompt, PromptsConfig, PromptSource, option


@dataclass
class AcmePromptsConfig(PromptsConfig):
    """Options of the acme prompts."""

    name: str = option("acme", help="entry-point name of the prompt source")
    thing: str = option("anvil", help="what they are about")


class AcmePrompts(PromptSource[AcmePromptsConfig]):
    """As many as are asked for."""

    config_class = AcmePromptsConfig

    def prompts(self, count: int) -> Iterator[Prompt]:
        """Numbered questions."""
        for number in range(count):
            yield Prompt(prompt_id=f"acme-{number}", text=f"Question {number}: how heavy is an {self.config.thing}?", task="trivia")
