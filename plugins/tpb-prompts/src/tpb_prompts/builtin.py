"""The built-in prompt set: prompts written for tpb, varied in task and length."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import ClassVar

from tpb_core.api import BadInput, Prompt, PromptsConfig, PromptSource, option
from tpb_prompts.order import shuffled


@dataclass
class BuiltinConfig(PromptsConfig):
    """Options of `prompts=builtin`."""

    name: str = option("builtin", help="entry-point name of the prompt source")
    tasks: list[str] = option([], help="only prompts of these tasks (chat, explain, summarise, code, ...); empty: all")
    as_chat: bool = option(True, help="send each prompt as a user message through the model's chat template; false: as plain text")


@cache
def _rows() -> list[dict[str, str]]:
    rows: list[dict[str, str]] = tomllib.loads(files("tpb_prompts").joinpath("data/builtin.toml").read_text(encoding="utf-8"))["prompt"]
    return rows


class BuiltinPrompts(PromptSource[BuiltinConfig]):
    """Prompts that come with tpb, in the order of the file or shuffled by the run's seed."""

    config_class: ClassVar[type[PromptsConfig]] = BuiltinConfig

    def prompts(self, count: int) -> Iterator[Prompt]:
        """At most `count` of the prompts. Raises `BadInput` for a task that no prompt has."""
        chosen = [
            self._prompt(row, number) for number, row in enumerate(_rows(), 1) if not self.config.tasks or row["task"] in self.config.tasks
        ]
        known = sorted({row["task"] for row in _rows()})
        for task in self.config.tasks:
            if task not in known:
                near = difflib.get_close_matches(task, known, n=1)
                raise BadInput(
                    f"the built-in prompts have no task {task!r}.",
                    f"Did you mean  prompts.tasks=[{near[0]}]  ?" if near else None,
                    [f"Tasks: {', '.join(known)}"],
                )
        yield from (shuffled(chosen, self.context.seed) if self.config.shuffle else chosen)[:count]

    def _prompt(self, row: dict[str, str], number: int) -> Prompt:
        prompt = Prompt(prompt_id=row["id"], task=row["task"], source="builtin", row=number)
        if self.config.as_chat:
            prompt.messages = [{"role": "user", "content": row["text"]}]
        else:
            prompt.text = row["text"]
        return prompt
