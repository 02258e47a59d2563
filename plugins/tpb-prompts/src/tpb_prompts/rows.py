"""From the fields of a row to a prompt: what each field may hold, and the reason where it may not."""

from __future__ import annotations

import json
import math
from typing import Any

from tpb_core.api import Prompt
from tpb_prompts.formats import BadRow

INPUT_FIELDS = ("text", "prompt", "messages")
ROLES = ("system", "developer", "user", "assistant", "tool")


class _Bad(Exception):
    """Raised while a row is looked at; becomes its `BadRow`."""


def prompt_of(fields: dict[str, Any], *, source: str, row: int) -> Prompt | BadRow:
    """The prompt that a row describes. Values may be strings (CSV) or typed (JSON, Parquet)."""
    try:
        given = [name for name in INPUT_FIELDS if fields.get(name) is not None]
        if not given:
            raise _Bad(f"has none of text, prompt, messages; its fields are: {', '.join(map(str, fields)) or 'none'}")
        if len(given) > 1:
            raise _Bad(f"has {' and '.join(given)}; give one of them")
        prompt = Prompt(
            prompt_id=_text(fields, "prompt_id", "id") or f"row-{row}",
            task=_text(fields, "task"),
            source=source,
            row=row,
            output_tokens=_whole(fields, "output_tokens", 1),
            arrival_s=_seconds(fields, "arrival_s"),
            conversation_id=_text(fields, "conversation_id"),
            turn=_whole(fields, "turn", 0),
            extensions={name: value for name, value in fields.items() if isinstance(name, str) and name.startswith("x_")},
        )
        if prompt.turn is not None and prompt.conversation_id is None:
            raise _Bad("has a turn but no conversation_id")
        if given[0] == "messages":
            prompt.messages = _messages(fields["messages"])
        else:
            prompt.text = _input_text(fields[given[0]], given[0])
    except _Bad as bad:
        return BadRow(str(bad))
    return prompt


def _input_text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _Bad(f"{name} is a {type(value).__name__}, not a string")
    if not value.strip():
        raise _Bad(f"{name} is empty")
    _encodable(value, name)
    return value


def _encodable(value: str, name: str) -> None:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _Bad(f"{name} holds half a character (a lone surrogate) at {error.start}") from error


def _messages(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, str):  # a CSV cell, or a Parquet column of JSON
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _Bad(f"messages is not JSON: {error}") from error
    if not isinstance(value, list) or not value:
        raise _Bad("messages is not a list of at least one message")
    for number, message in enumerate(value, 1):
        if not isinstance(message, dict):
            raise _Bad(f"message {number} is a {type(message).__name__}, not an object with role and content")
        if message.get("role") not in ROLES:
            raise _Bad(f"message {number} has the role {message.get('role')!r}; known are {', '.join(ROLES)}")
        content = message.get("content")
        if isinstance(content, list):
            raise _Bad(f"message {number} has content in parts; only text is supported, no images or sound")
        if not isinstance(content, str):
            raise _Bad(f"message {number} has no text in content")
        _encodable(content, f"message {number}")
    if not any(message["content"].strip() for message in value):
        raise _Bad("all messages are empty")
    return [{name: field for name, field in message.items() if field is not None} for message in value]


def _text(fields: dict[str, Any], *names: str) -> str | None:
    for name in names:
        value = fields.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise _Bad(f"{name} is a {type(value).__name__}, not a string")
        _encodable(str(value), name)
        return str(value)
    return None


def _number(fields: dict[str, Any], name: str) -> float | int | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError as error:
                raise _Bad(f"{name} is {value!r}, not a number") from error
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _Bad(f"{name} is {value!r}, not a number")
    return value


def _whole(fields: dict[str, Any], name: str, least: int) -> int | None:
    value = _number(fields, name)
    if value is None:
        return None
    if value != int(value) or not least <= value < 2**31:
        raise _Bad(f"{name} is {value}, not a whole number of at least {least}")
    return int(value)


def _seconds(fields: dict[str, Any], name: str) -> float | None:
    value = _number(fields, name)
    if value is not None and value < 0:
        raise _Bad(f"{name} is {value}, which is before the start")
    return None if value is None else float(value)
