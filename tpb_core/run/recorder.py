"""What the session itself writes while a run goes on: requests, windows, events, prompts, output texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_core.api.prompts import Prompt
from tpb_core.api.requests import Request
from tpb_core.run.outcome import Outcome
from tpb_core.store.schema import TABLES
from tpb_core.store.spool import StreamWriter

_TABLES = ("requests", "windows", "events", "prompts", "texts")


class Recorder:
    """Rows of the session, flushed at least once a second. Keeps only what is under way, so memory does not grow with the run."""

    def __init__(self, bundle: Path, clock: Clock, node: str, *, keep_texts: bool) -> None:
        """`keep_texts`: output texts go into texts.parquet; they are somebody's data and stay out unless asked for."""
        self._clock, self._node = clock, node
        self._writers = {table: StreamWriter(bundle, table, "session") for table in _TABLES if table != "texts"}
        self._bundle, self._keep_texts = bundle, keep_texts
        self._under_way: dict[int, dict[str, Any]] = {}
        self._open_windows: dict[str, int] = {}

    def _write(self, table: str, row: dict[str, Any]) -> None:
        self._writers[table].append(tuple(row.get(column) for column in TABLES[table].names))

    def prompts(self, prompts: Iterable[Prompt]) -> None:
        """Provenance of the prompts of this run: where each came from, and a hash of its text."""
        for prompt in prompts:
            content = prompt.text if prompt.text is not None else repr(prompt.messages or prompt.input_ids)
            self._write(
                "prompts",
                {
                    "prompt_id": prompt.prompt_id,
                    "source": prompt.source,
                    "row": prompt.row,
                    "task": prompt.task,
                    "text_sha256": hashlib.sha256(content.encode()).hexdigest(),
                },
            )

    # --- requests ------------------------------------------------------------------------------------------------------------

    def submitted(self, request: Request, role: str, due_ns: int, submitted_ns: int) -> None:
        """A request is on its way. Its row says `unfinished` until it ends, which is what stays when we are killed."""
        row = {
            "request": request.request,
            "request_id": request.request_id,
            "prompt_id": request.prompt_id,
            "conversation_id": request.conversation_id,
            "turn": request.turn,
            "role": role,
            "due_ns": due_ns,
            "submitted_ns": submitted_ns,
            "input_tokens": None if request.input_ids is None else len(request.input_ids),
            "status": "unfinished",
        }
        self._under_way[request.request] = row
        self._write("requests", row)

    def ended(self, outcome: Outcome) -> None:
        """A request ended; the last row of a request is the one that counts."""
        row = self._under_way.pop(outcome.request)
        told = {name: value for name, value in outcome.to_json().items() if value is not None}
        if not outcome.token_ns:
            told.pop("token_ns")  # not known, or none came out
        self._write("requests", {**row, **told})
        if outcome.status != "ok":
            self.event(EventCode.REQUEST_FAILED, f"{outcome.status}: {outcome.error or ''}", request=outcome.request)
        if outcome.text is not None and self._keep_texts:
            if "texts" not in self._writers:
                self._writers["texts"] = StreamWriter(self._bundle, "texts", "session")
            self._write("texts", {"request": outcome.request, "text": outcome.text})

    def under_way_since(self) -> dict[int, int]:
        """Requests under way and when each was sent."""
        return {request: row["submitted_ns"] for request, row in self._under_way.items()}

    # --- windows and events --------------------------------------------------------------------------------------------------

    def open_window(self, window: str, t_ns: int) -> None:
        """A window begins."""
        self._open_windows[window] = t_ns
        self._write("windows", {"window": window, "t0_ns": t_ns})

    def close_window(self, window: str, t_ns: int) -> None:
        """A window ends."""
        self._write("windows", {"window": window, "t0_ns": self._open_windows.pop(window), "t1_ns": t_ns})

    def window(self, window: str, t0_ns: int, t1_ns: int, note: str | None = None) -> None:
        """A window that is known as a whole."""
        self._write("windows", {"window": window, "t0_ns": t0_ns, "t1_ns": t1_ns, "note": note})

    def event(
        self,
        code: EventCode | str,
        message: str,
        *,
        level: str = "warning",
        request: int | None = None,
        t_ns: int | None = None,
        source: str = "session",
    ) -> None:
        """Something happened."""
        row = {"t_ns": t_ns if t_ns is not None else self._clock.now_ns(), "source": source, "node": self._node, "request": request}
        self._write("events", {**row, "level": level, "code": str(code), "message": message})

    def flush(self) -> None:
        """Write what is due. Call it at least once a second. Raises OSError on a full disk."""
        for writer in self._writers.values():
            writer.flush_if_due()

    def close(self) -> None:
        """Open windows get no end: they were cut off. Write the end marks. Raises OSError on a full disk, after having tried them all."""
        failed: OSError | None = None
        for writer in self._writers.values():
            try:
                writer.close()
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed
