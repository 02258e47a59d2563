"""The model's own tokenizer and chat template."""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from tpb_core.api import BadInput
from tpb_engine_llamacpp.loaded import Loaded


class LlamaTokenizer:
    """Implements `tpb_core.api.Tokenizer`. Special tokens that are written out in a text (`<|im_start|>`) become their ids."""

    def __init__(self, loaded: Loaded, template: str | None) -> None:
        """`template` is `engine.chat_template`: Jinja text, the path of a file with it, or None for the model's own."""
        self._loaded = loaded
        own = loaded.lib.llama_model_chat_template(loaded.model, None)
        self._template_source = "none"
        self.template: str | None = None
        if template is not None:
            self.template, self._template_source = _override(template), "engine.chat_template"
        elif own:
            self.template, self._template_source = own.decode("utf-8", "replace"), "gguf"
        self._render: Callable[..., str] | None = None

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens added."""
        return [self._encode(text) for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Texts of each list of token ids, special tokens written out."""
        return [self.text(row, special=True) for row in ids]

    def render_chat(self, conversations: Sequence[Sequence[dict[str, Any]]]) -> list[list[int]]:
        """Token ids of each conversation under the chat template, with the opening of the answer. Raises `BadInput`."""
        if self.template is None:
            raise BadInput(
                f"{self._loaded.path.name} has no chat template, and these prompts are chat messages.",
                "Give one with  engine.chat_template=FILE , or send plain text:  prompts.as_chat=false",
            )
        if self._render is None:
            self._render = self._compile(self.template)
        rendered = []
        for messages in conversations:
            try:
                text = self._render(messages=list(messages), add_generation_prompt=True)
            except BadInput:
                raise
            except Exception as error:  # whatever a template does with the messages
                raise BadInput(f"the chat template of {self._loaded.path.name} cannot render these messages: {error}") from error
            rendered.append(self._encode(text))
        return rendered

    def text(self, ids: Sequence[int], *, special: bool) -> str:
        """The text of token ids; `special` writes special tokens out, otherwise they are left away."""
        lib, count = self._loaded.lib, len(ids)
        tokens = (lib.llama_token * count)(*ids)
        size = 8 * count + 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = lib.llama_detokenize(self._loaded.vocab, tokens, count, buffer, size, False, special)
            if length >= 0:
                return buffer.raw[:length].decode("utf-8", "replace")
            size = -length

    def piece(self, token: int) -> bytes:
        """The bytes that one token adds to a text; special tokens add none."""
        size = 256
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self._loaded.lib.llama_token_to_piece(self._loaded.vocab, token, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def describe(self) -> dict[str, Any]:
        """For the manifest: which tokenizer, how many ids, which template and where it came from."""
        return {
            "name": "/".join(filter(None, (self._loaded.metadata("tokenizer.ggml.model"), self._loaded.metadata("tokenizer.ggml.pre")))),
            "vocabulary": self._loaded.vocab_size,
            "special_tokens_added": False,
            "chat_template": self.template,
            "chat_template_source": self._template_source,
            "chat_template_sha256": hashlib.sha256(self.template.encode()).hexdigest() if self.template is not None else None,
        }

    def _encode(self, text: str) -> list[int]:
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        while True:
            tokens = (self._loaded.lib.llama_token * room)()
            count = self._loaded.lib.llama_tokenize(self._loaded.vocab, raw, len(raw), tokens, room, False, True)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def _compile(self, template: str) -> Callable[..., str]:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        lib, vocab = self._loaded.lib, self._loaded.vocab

        def special(token: int) -> str:
            return lib.llama_vocab_get_text(vocab, token).decode("utf-8", "replace") if token >= 0 else ""

        environment.globals.update(
            bos_token=special(lib.llama_vocab_bos(vocab)),
            eos_token=special(lib.llama_vocab_eos(vocab)),
            raise_exception=_refuse,
            strftime_now=lambda format: datetime.now().strftime(format),
        )
        # templates are written for this filter: JSON as it is, not escaped for HTML
        environment.filters["tojson"] = lambda value, indent=None: json.dumps(value, ensure_ascii=False, indent=indent)
        try:
            return environment.from_string(template).render
        except TemplateError as error:
            raise BadInput(f"the chat template of {self._loaded.path.name} is not valid Jinja: {error}") from error


def _refuse(message: str) -> NoReturn:
    raise BadInput(f"the chat template refuses these messages: {message}")


def _override(template: str) -> str:
    if "{" in template:
        return template
    try:
        return Path(template).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"engine.chat_template={template} cannot be read: {error}", "Give Jinja text, or the path of a file with it."
        ) from error
