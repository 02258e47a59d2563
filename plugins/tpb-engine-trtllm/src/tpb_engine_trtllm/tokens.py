"""The tokenizer of the LLM API as tpb sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tpb_core.api import BadInput


class LlmTokenizer:
    """`LLM.tokenizer`: the library's thin wrapper around a Transformers tokenizer. Behind `tpb_core.api.Tokenizer`."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See `Tokenizer`."""
        return [[int(token) for token in self._tokenizer.encode(text, add_special_tokens=False)] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """See `Tokenizer`. Special tokens are left out."""
        return [str(self._tokenizer.decode(list(row), skip_special_tokens=True)) for row in ids]

    def render_chat(self, conversations: Sequence[Sequence[dict[str, Any]]]) -> list[list[int]]:
        """See `Tokenizer`. Raises BadInput for images, sound and video, and where the model has no template or refuses a conversation."""
        rendered = []
        for conversation in conversations:
            for message in conversation:
                _check_text_only(message.get("content"))
            try:
                text = self._tokenizer.apply_chat_template(list(conversation), tokenize=False, add_generation_prompt=True)
            except Exception as error:  # templates are programs of the model's authors and raise what they like
                raise BadInput(
                    f"the model's chat template cannot render a conversation: {error}",
                    "Use a prompt source that gives plain text, or a model that was tuned for chat.",
                ) from error
            rendered += self.encode([str(text)])
        return rendered

    def describe(self) -> dict[str, Any]:
        """What is recorded of it in the manifest."""
        inner = getattr(self._tokenizer, "tokenizer", self._tokenizer)
        return {"class": type(inner).__name__, "name": str(getattr(self._tokenizer, "name_or_path", "")) or None}


def _check_text_only(content: Any) -> None:
    if isinstance(content, list) and any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
        raise BadInput(
            "a prompt holds an image, sound or video: multimodal input is not measured by this version of tpb", "Leave those prompts out."
        )
