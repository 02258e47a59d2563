"""The model's tokenizer as tpb sees it, and the token ids of a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tpb_core.api import BadInput, Refused, Request


class HfTokenizer:
    """A Transformers tokenizer behind `tpb_core.api.Tokenizer`."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens added."""
        if not texts:
            return []
        return [list(ids) for ids in self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Texts of each list of token ids, special tokens left out."""
        return [self.text(one) for one in ids]

    def text(self, ids: Sequence[int]) -> str:
        """Text of one list of token ids, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def render_chat(self, conversations: Sequence[Sequence[dict[str, Any]]]) -> list[list[int]]:
        """Token ids of each conversation under the model's chat template, with the opening of the answer.

        Raises `BadInput` where the model has no template, or where its template refuses a conversation.
        """
        if not getattr(self._tokenizer, "chat_template", None):
            raise BadInput(
                "This model's tokenizer has no chat template, so chat messages cannot be rendered.",
                "Use a prompt source that gives plain text, or a model that was tuned for chat.",
            )
        rendered: list[list[int]] = []
        for conversation in conversations:
            _refuse_multimodal(conversation)
            try:
                ids = self._tokenizer.apply_chat_template(list(conversation), add_generation_prompt=True, tokenize=True, return_dict=True)[
                    "input_ids"
                ]
            except Exception as error:  # templates are programs of the model's authors and raise what they like
                raise BadInput(f"The model's chat template refuses a conversation: {error}", "Check the roles and their order.") from error
            rendered.append([int(token) for token in ids])
        return rendered

    def prompt_ids(self, request: Request) -> list[int]:
        """Token ids of a request, whichever way it gives its prompt. Raises `BadInput` for an empty one."""
        if request.input_ids is not None:
            ids = list(request.input_ids)
        elif request.messages is not None:
            ids = self.render_chat([request.messages])[0]
        elif request.text is not None:
            ids = self.encode([request.text])[0]
        else:
            ids = []
        if not ids:
            raise BadInput(f"Request {request.request_id} has an empty prompt.", "Give every prompt at least one token.")
        return ids

    def describe(self) -> dict[str, Any]:
        """What is recorded of the tokenizer in the manifest."""
        return {
            "class": type(self._tokenizer).__name__,
            "name": str(getattr(self._tokenizer, "name_or_path", "")) or None,
            "vocabulary": len(self._tokenizer),
            "chat_template": bool(getattr(self._tokenizer, "chat_template", None)),
        }


def _refuse_multimodal(conversation: Sequence[dict[str, Any]]) -> None:
    for message in conversation:
        content = message.get("content")
        kinds = {part.get("type") for part in content if isinstance(part, dict)} if isinstance(content, list) else set()
        if foreign := sorted(str(kind) for kind in kinds - {"text"}):
            raise Refused(f"A message holds {', '.join(foreign)}; tpb measures text only for now.", "Use text prompts.")
