"""Prompts from a file of the user's: every row is checked before the first one is sent."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tpb_core.api import MISSING, BadInput, Prompt, PromptContext, PromptsConfig, PromptSource, option
from tpb_prompts.formats import READERS, SUFFIXES, BadRow
from tpb_prompts.order import shuffled
from tpb_prompts.rows import prompt_of
from tpb_prompts.turns import turns_of

REASONS_SHOWN = 3


@dataclass
class FileConfig(PromptsConfig):
    """Options of `prompts=file`."""

    name: str = option("file", help="entry-point name of the prompt source")
    path: str = option(MISSING, help="the prompt file; one row is one prompt")
    format: str = option("auto", help="format of the file; auto: by its name", choices=("auto", *READERS))
    on_error: str = option(
        "fail", help="what a bad row does: `fail` ends the command, `skip` leaves the row out and says so", choices=("fail", "skip")
    )
    turns: bool = option(
        False,
        help="one request for each user turn of a conversation, with the messages before it as they stand in the file; load=closed sends "
        "a turn when the one before it is answered. Without, a conversation is one request: the answer to its last message",
    )


class FilePrompts(PromptSource[FileConfig]):
    """Prompts in the order of the file (by arrival where it has arrival times), or shuffled by the run's seed."""

    config_class: ClassVar[type[PromptsConfig]] = FileConfig

    def __init__(self, config: FileConfig, context: PromptContext) -> None:
        super().__init__(config, context)
        self._notes: list[str] = []

    def prompts(self, count: int) -> Iterator[Prompt]:
        """At most `count` prompts. Raises `BadInput` for a file that is missing, unreadable or without a good row, and for a bad row."""
        self._notes = []
        path = Path(self.config.path).expanduser()
        good, bad, rows = self._read(path)
        if bad:
            shown = [f"row {row}: {reason}" for row, reason in bad[:REASONS_SHOWN]]
            more = f"; and {len(bad) - REASONS_SHOWN} more" if len(bad) > REASONS_SHOWN else ""
            if not good:
                raise BadInput(f"{path} has no usable row out of {rows}.", notes=shown)
            self._notes.append(f"{len(bad)} of {rows} rows of {path} were skipped: {'; '.join(shown)}{more}")
        if not good:
            raise BadInput(f"{path} holds no prompts.")
        if good[0].arrival_s is not None:
            if self.config.shuffle:
                raise BadInput(f"{path} has arrival times, which prompts.shuffle=true would contradict.", "Leave prompts.shuffle out.")
            good = _by_arrival(good)
        elif self.config.shuffle:
            good = shuffled(good, self.context.seed)
        if self.config.turns:
            good = [turn for prompt in good for turn in turns_of(prompt)]
        yield from good[:count]

    def notes(self) -> list[str]:
        """How many rows were skipped and the first reasons; empty before `prompts` and where none was."""
        return list(self._notes)

    def _read(self, path: Path) -> tuple[list[Prompt], list[tuple[int, str]], int]:
        if self.config.on_error not in ("fail", "skip"):
            raise BadInput(f"prompts.on_error={self.config.on_error} is not known.", "It is fail or skip.")
        good: list[Prompt] = []
        bad: list[tuple[int, str]] = []
        ids: dict[str, int | None] = {}
        turns: set[tuple[str, int]] = set()
        rows = 0
        try:
            for row, fields in READERS[self._format(path)](path):
                rows += 1
                found = fields if isinstance(fields, BadRow) else prompt_of(fields, source=str(path), row=row)
                if isinstance(found, Prompt):
                    found = _beside_others(found, good, ids, turns)
                if isinstance(found, BadRow):
                    if self.config.on_error == "fail":
                        raise BadInput(
                            f"{path}, row {row}: {found.reason}.", "Correct the row, or leave bad rows out:  prompts.on_error=skip"
                        )
                    bad.append((row, found.reason))
                else:
                    good.append(found)
        except IsADirectoryError:
            raise BadInput(f"{path} is a folder, not a prompt file.", "Name a file:  prompts.path=FILE") from None
        except FileNotFoundError:
            near = difflib.get_close_matches(path.name, [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else [], n=1)
            raise BadInput(
                f"there is no prompt file {path}.", f"Did you mean  prompts.path={path.parent / near[0]}  ?" if near else None
            ) from None
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror or error}.") from error
        return good, bad, rows

    def _format(self, path: Path) -> str:
        name = self.config.format if self.config.format != "auto" else SUFFIXES.get(path.suffix.lower())
        if name is None and path.is_dir():
            raise IsADirectoryError(str(path))
        if name is None or name not in READERS:
            told = f"prompts.format={name} is not known." if name else f"the name of {path} does not tell its format."
            raise BadInput(told, f"Add  prompts.format=NAME  with one of: {', '.join(READERS)}")
        return name


def _beside_others(prompt: Prompt, good: list[Prompt], ids: dict[str, int | None], turns: set[tuple[str, int]]) -> Prompt | BadRow:
    """The prompt, or why it cannot stand beside the good rows before it: unique ids and turns, arrival times for all or none."""
    if prompt.prompt_id in ids:
        return BadRow(f"prompt_id {prompt.prompt_id!r} is the one of row {ids[prompt.prompt_id]} too")
    if good and (prompt.arrival_s is None) != (good[0].arrival_s is None):
        return BadRow(f"{'has no' if prompt.arrival_s is None else 'has an'} arrival_s, unlike the rows before it")
    if prompt.conversation_id is not None and prompt.turn is not None:
        if (prompt.conversation_id, prompt.turn) in turns:
            return BadRow(f"is turn {prompt.turn} of conversation {prompt.conversation_id!r}, which was there before")
        turns.add((prompt.conversation_id, prompt.turn))
    ids[prompt.prompt_id] = prompt.row
    return prompt


def _by_arrival(prompts: list[Prompt]) -> list[Prompt]:
    ordered = sorted(prompts, key=lambda prompt: prompt.arrival_s or 0.0)
    first = ordered[0].arrival_s or 0.0
    for prompt in ordered:
        prompt.arrival_s = (prompt.arrival_s or 0.0) - first
    return ordered
