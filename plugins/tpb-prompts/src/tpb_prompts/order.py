"""The order of prompts: seeded, with the turns of a conversation kept in theirs."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tpb_core.api import Prompt


def seeded(seed: int, purpose: str) -> random.Random:
    """A generator that depends on the run's seed and on what it is for, and on nothing else (not on the hash seed of the process)."""
    return random.Random(f"{purpose}/{seed}")


def shuffled(prompts: Sequence[Prompt], seed: int) -> list[Prompt]:
    """The prompts in a random order. Turns of one conversation stay in their order: they take the conversation's places in turn."""
    order = list(prompts)
    seeded(seed, "order").shuffle(order)
    waiting: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        if prompt.conversation_id is not None:
            waiting.setdefault(prompt.conversation_id, []).append(prompt)
    for turns in waiting.values():
        turns.sort(key=lambda prompt: prompt.turn or 0, reverse=True)
    return [prompt if prompt.conversation_id is None else waiting[prompt.conversation_id].pop() for prompt in order]
