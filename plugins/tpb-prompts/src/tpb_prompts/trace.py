"""Requests as a recorded trace has them: arrival times, input and output lengths. The texts are ours, cut to the recorded lengths.

Public traces hold lengths only. Columns are known for BurstGPT and for the Azure LLM inference traces; a file of one's own has the
columns `arrival_s`, `input_tokens`, `output_tokens`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from tpb_core.api import MISSING, BadInput, Prompt, PromptContext, PromptsConfig, PromptSource, Refused, option
from tpb_prompts.formats import BadRow, read_csv
from tpb_prompts.order import seeded
from tpb_prompts.synthetic import paragraphs_of, passages_of


class TraceRow(NamedTuple):
    """One recorded request: row of the file, arrival in seconds, lengths in tokens."""

    row: int
    arrival_s: float
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class TraceColumns:
    """Names of the columns of one kind of trace."""

    arrival: str
    input_tokens: str
    output_tokens: str


KINDS = {
    "burstgpt": TraceColumns("Timestamp", "Request tokens", "Response tokens"),
    "azure": TraceColumns("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    "own": TraceColumns("arrival_s", "input_tokens", "output_tokens"),
}


@dataclass
class TraceConfig(PromptsConfig):
    """Options of `prompts=trace`."""

    name: str = option("trace", help="entry-point name of the prompt source")
    path: str = option(
        MISSING, help="the trace, a CSV file of BurstGPT, of the Azure LLM traces, or with arrival_s,input_tokens,output_tokens"
    )
    offset_s: float = option(0.0, help="begin this far into the trace", unit="s", minimum=0)
    max_input_tokens: int | None = option(None, help="leave out requests with longer inputs, and say how many", unit="tokens")
    max_output_tokens: int | None = option(None, help="leave out requests with longer outputs, and say how many", unit="tokens")


class TracePrompts(PromptSource[TraceConfig]):
    """Prompts of the recorded lengths with the recorded arrival times, in the order of arrival."""

    config_class: ClassVar[type[PromptsConfig]] = TraceConfig

    def __init__(self, config: TraceConfig, context: PromptContext) -> None:
        super().__init__(config, context)
        self._notes: list[str] = []

    def prompts(self, count: int) -> Iterator[Prompt]:
        """At most `count` prompts from the offset on. Raises `BadInput` naming file and row, `Refused` without a tokenizer."""
        if self.context.tokenizer is None:
            raise Refused("a trace has exact lengths, and this engine offers no tokenizer to count them with.", "Use  prompts=file")
        if self.config.shuffle:
            raise BadInput("prompts.shuffle=true contradicts the arrival times of a trace.", "Leave prompts.shuffle out.")
        self._notes = []
        rows = self._rows(Path(self.config.path).expanduser())
        passages = passages_of(paragraphs_of(self.context.tokenizer), seeded(self.context.seed, "passages"))
        first_s = rows[0].arrival_s
        for row, arrival_s, input_tokens, output_tokens in rows[:count]:
            yield Prompt(
                prompt_id=f"trace-{row:07d}",
                input_ids=next(passages).take(input_tokens),
                task="trace",
                source=self.config.path,
                row=row,
                output_tokens=output_tokens,
                arrival_s=arrival_s - first_s,
            )

    def notes(self) -> list[str]:
        """What was left out of the trace, and why."""
        return list(self._notes)

    def _rows(self, path: Path) -> list[TraceRow]:
        """In order of arrival, from the offset on; arrivals since the beginning of the trace."""
        kind: str | None = None
        rows: list[TraceRow] = []
        try:
            for row, fields in read_csv(path):
                if isinstance(fields, BadRow):
                    raise BadInput(f"{path}, row {row}: {fields.reason}.")
                kind = kind or _kind(path, fields)
                rows.append(_values(path, row, fields, KINDS[kind]))
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror or error}.", "Name a trace:  prompts.path=FILE.csv") from None
        if not rows:
            raise BadInput(f"{path} holds no requests.")
        rows.sort(key=lambda row: row.arrival_s)
        begin_s = rows[0].arrival_s
        rows = [row._replace(arrival_s=row.arrival_s - begin_s) for row in rows]
        return self._usable(path, [row for row in rows if row.arrival_s >= self.config.offset_s])

    def _usable(self, path: Path, rows: list[TraceRow]) -> list[TraceRow]:
        most_in, most_out = self.config.max_input_tokens or sys.maxsize, self.config.max_output_tokens or sys.maxsize
        reasons: dict[str, Callable[[TraceRow], bool]] = {
            "without input or output tokens": lambda row: row.input_tokens < 1 or row.output_tokens < 1,
            f"with more than {most_in} input tokens": lambda row: row.input_tokens > most_in,
            f"with more than {most_out} output tokens": lambda row: row.output_tokens > most_out,
        }
        for reason, applies in reasons.items():
            kept = [row for row in rows if not applies(row)]
            if len(kept) < len(rows):
                self._notes.append(f"{len(rows) - len(kept)} of {len(rows)} requests of {path} are left out: {reason}")
            rows = kept
        if not rows:
            raise BadInput(f"no request of {path} is left behind prompts.offset_s and the length limits.", "Widen them.")
        return rows


def _kind(path: Path, fields: dict[str, Any]) -> str:
    for kind, columns in KINDS.items():
        if {columns.arrival, columns.input_tokens, columns.output_tokens} <= set(fields):
            return kind
    known = "; ".join(", ".join((c.arrival, c.input_tokens, c.output_tokens)) for c in KINDS.values())
    raise BadInput(f"{path} is no trace that is known: it has the columns {', '.join(fields)}.", f"Columns of a trace: {known}")


def _values(path: Path, row: int, fields: dict[str, Any], columns: TraceColumns) -> TraceRow:
    try:
        arrival_s = _seconds(str(fields[columns.arrival]))
        return TraceRow(row, arrival_s, int(fields[columns.input_tokens]), int(fields[columns.output_tokens]))
    except (KeyError, ValueError, OverflowError) as error:
        raise BadInput(f"{path}, row {row}: {error}.", "Correct the row or leave it out.") from None


def _seconds(text: str) -> float:
    """Seconds as a number, or of a UTC date and time; the trace's own beginning is taken off later."""
    try:
        value = float(text)
    except ValueError:
        whole, dot, fraction = text.strip().partition(".")
        moment = datetime.fromisoformat(whole)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.timestamp() + (float(f"0.{fraction.split('+')[0]}") if dot else 0.0)
    if not -1e15 < value < 1e15:
        raise ValueError(f"{text!r} is no time")
    return value
