"""The turns of a conversation as requests of their own: each user message with everything that was said before it."""

from __future__ import annotations

from dataclasses import replace

from tpb_core.api import Prompt


def turns_of(prompt: Prompt) -> list[Prompt]:
    """One prompt for each user message of a chat, turns counted from 0; a text, or a row that is a turn already, as it is.

    The history is the one in the file, not what the model answered in the run: so the input has the same tokens on every engine.
    """
    if prompt.messages is None or prompt.turn is not None:
        return [prompt]
    asked = [place for place, message in enumerate(prompt.messages) if message["role"] == "user"]
    return [
        replace(
            prompt,
            prompt_id=f"{prompt.prompt_id}/{turn}",
            messages=prompt.messages[: place + 1],
            conversation_id=prompt.conversation_id or prompt.prompt_id,
            turn=turn,
        )
        for turn, place in enumerate(asked)
    ] or [prompt]
