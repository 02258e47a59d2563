"""Tokenizers for a server's model: the server's own end point, or a tokenizer.json. Both count what the server should count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tpb_core.api import BadInput, MeasurementFailed, Reason, Unavailable
from tpb_engine_openai.config import OpenAiConfig
from tpb_engine_openai.questions import Questions
from tpb_engine_openai.server import Server

_NO_TEMPLATE = "Let the server render them:  engine.api=chat"


class FileTokenizer:
    """A tokenizer.json, through the package `tokenizers`."""

    def __init__(self, path: str) -> None:
        """Raises BadInput (no such file, none that can be read) and Unavailable (package missing)."""
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise Unavailable(
                "engine.tokenizer= needs the package tokenizers",
                reason=Reason.NOT_INSTALLED,
                fix="Type:  pip install tokenizers  or leave engine.tokenizer= out",
            ) from error
        file = Path(path).expanduser()
        file = file / "tokenizer.json" if file.is_dir() else file
        if not file.is_file():
            raise BadInput(f"engine.tokenizer={path}: there is no such file", "Give the path of the model's tokenizer.json.")
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the package raises plain Exception for a file that it cannot read
            raise BadInput(f"engine.tokenizer={path}: {error}", "Give the path of the model's tokenizer.json.") from error
        self.described = {"source": "file", "file": file.name, "vocabulary": self._tokenizer.get_vocab_size()}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See `Tokenizer`."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """See `Tokenizer`."""
        return list(self._tokenizer.decode_batch([list(row) for row in ids], skip_special_tokens=False))

    def render_chat(self, conversations: Sequence[Sequence[dict[str, Any]]]) -> list[list[int]]:
        """A tokenizer.json has no chat template."""
        raise BadInput("a tokenizer.json holds no chat template", _NO_TEMPLATE)

    def prompt_tokens(self, text: str) -> int:
        """How many tokens a server makes of a text prompt: with the special tokens that the tokenizer adds."""
        return len(self._tokenizer.encode(text).ids)


class ServerTokenizer:
    """The tokenize end point of a server: the very tokenizer that it uses."""

    def __init__(self, questions: Questions, server: Server) -> None:
        self._questions, self._model = questions, server.model
        self._dialect = server.kind.tokenize
        self.described = {"source": "server", "dialect": self._dialect}
        self._always: list[int] = []
        self._always = self._ids(self._question("")) if self._dialect == "llama_cpp_python" else []
        """Special tokens that the end point puts in front of everything."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See `Tokenizer`."""
        rows = [self._ids(self._question(text)) for text in texts]
        return [ids[len(self._always) :] if self._always and ids[: len(self._always)] == self._always else ids for ids in rows]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """See `Tokenizer`."""
        path, field = {
            "vllm": ("/detokenize", "prompt"),
            "llamacpp": ("/detokenize", "content"),
            "llama_cpp_python": ("/extras/detokenize", "text"),
        }[self._dialect or ""]
        return [str(self._answer(path, {"model": self._model, "tokens": list(row)})[field]) for row in ids]

    def render_chat(self, conversations: Sequence[Sequence[dict[str, Any]]]) -> list[list[int]]:
        """By the server's template, where it offers that apart from answering."""
        if self._dialect == "vllm":
            return [
                self._ids(("/tokenize", {"model": self._model, "messages": list(c), "add_generation_prompt": True})) for c in conversations
            ]
        if self._dialect == "llamacpp":
            prompts = [str(self._answer("/apply-template", {"messages": list(conversation)})["prompt"]) for conversation in conversations]
            return [self._ids(("/tokenize", {"content": prompt, "add_special": True, "parse_special": True})) for prompt in prompts]
        raise BadInput("this server renders chat messages only when it answers them", _NO_TEMPLATE)

    def _question(self, text: str) -> tuple[str, dict[str, Any]]:
        if self._dialect == "vllm":
            return "/tokenize", {"model": self._model, "prompt": text, "add_special_tokens": False}
        if self._dialect == "llamacpp":
            return "/tokenize", {"content": text, "add_special": False, "parse_special": False}
        return "/extras/tokenize", {"model": self._model, "input": text}

    def _ids(self, question: tuple[str, dict[str, Any]]) -> list[int]:
        return [int(token) for token in self._answer(*question)["tokens"]]

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._questions.ask_json(path, body)
        if answer is None:
            raise MeasurementFailed(
                f"{self._questions.address}{path} does not tokenize",
                "Give a tokenizer.json with engine.tokenizer=, or engine.tokenizer=none",
            )
        return answer


AnyTokenizer = FileTokenizer | ServerTokenizer


def find_tokenizer(config: OpenAiConfig, questions: Questions, server: Server) -> AnyTokenizer | None:
    """The tokenizer that the options ask for; by default the server's, where it answers. Raises BadInput, Unavailable."""
    if config.tokenizer == "none":
        return None
    if config.tokenizer not in (None, "server"):
        return FileTokenizer(str(config.tokenizer))
    if server.kind.tokenize is None:
        if config.tokenizer == "server":
            raise BadInput(
                f"{server.kind.title} has no tokenize end point that is known here", "Give a tokenizer.json: engine.tokenizer=PATH"
            )
        return None
    tokenizer = ServerTokenizer(questions, server)
    try:
        tokenizer.encode(["The sun"])
    except (MeasurementFailed, KeyError, TypeError, ValueError):
        if config.tokenizer == "server":
            raise
        return None
    return tokenizer
