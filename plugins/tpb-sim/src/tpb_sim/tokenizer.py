"""A tokenizer without a vocabulary file: words cut into pieces of up to three ASCII characters, everything else byte by byte.

An id says which bytes it stands for, so decoding needs nothing but the id, and cutting a list of ids anywhere cuts the text there:
the pieces of a text's beginning are the beginning of its pieces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tpb_core.api import BadInput

_PAIRS, _TRIPLES = 256, 256 + 2**16
VOCABULARY_TOKENS = _TRIPLES + 2**24 + 8
"""Ids below this; the last eight are control tokens, which stand for no text."""
_CONTROL = VOCABULARY_TOKENS - 8
_ROLES = {"system": 0, "user": 1, "assistant": 2, "tool": 3}
_END_OF_TURN = _CONTROL + 7
_PIECE = re.compile(r" ?[!-~]{1,3}|[\x00-\x7f]|[^\x00-\x7f]")


class SimTokenizer:
    """Deterministic and reversible: `decode(encode(text))` is the text."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text. A leading space belongs to its word, as in most tokenizers."""
        return [[token for piece in _PIECE.findall(text) for token in _ids(piece)] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Texts of each list of ids; control tokens give nothing. Raises `BadInput` for an id outside the vocabulary."""
        return [b"".join(_bytes(token) for token in row).decode("utf-8", errors="replace") for row in ids]

    def render_chat(self, conversations: Sequence[Sequence[dict[str, Any]]]) -> list[list[int]]:
        """Each message as its role's control token, its content and an end-of-turn token; then the opening of the answer."""
        return [[*(token for message in turns for token in self._turn(message)), _CONTROL + _ROLES["assistant"]] for turns in conversations]

    def _turn(self, message: dict[str, Any]) -> list[int]:
        role, content = message.get("role"), message.get("content")
        if role not in _ROLES or not isinstance(content, str):
            raise BadInput(
                f"a chat message needs a role ({', '.join(_ROLES)}) and a content of text; got role {role!r} and content of type "
                f"{type(content).__name__}",
                "Correct the prompt file.",
            )
        return [_CONTROL + _ROLES[role], *self.encode([content])[0], _END_OF_TURN]


def _ids(piece: str) -> list[int]:
    raw = piece.encode("utf-8", errors="surrogatepass")
    if not piece.isascii() or len(raw) == 1:
        return list(raw)
    if len(raw) == 4:  # a space and three characters do not fit into one id
        return [_PAIRS + raw[0] * 256 + raw[1], _PAIRS + raw[2] * 256 + raw[3]]
    if len(raw) == 2:
        return [_PAIRS + raw[0] * 256 + raw[1]]
    return [_TRIPLES + (raw[0] * 256 + raw[1]) * 256 + raw[2]]


def _bytes(token: int) -> bytes:
    if 0 <= token < _PAIRS:
        return bytes([token])
    if token < _TRIPLES and token >= _PAIRS:
        return (token - _PAIRS).to_bytes(2, "big")
    if _TRIPLES <= token < _CONTROL:
        return (token - _TRIPLES).to_bytes(3, "big")
    if _CONTROL <= token < VOCABULARY_TOKENS:
        return b""
    raise BadInput(f"{token} is not a token id of the simulated model", f"Ids are 0 to {VOCABULARY_TOKENS - 1}.")
