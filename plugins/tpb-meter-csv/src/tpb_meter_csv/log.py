"""A whole log: its usable rows in order, and what could not be used."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tpb_core.api import BadInput
from tpb_core.api.described import Column
from tpb_core.api.timestamps import in_order
from tpb_meter_csv.config import CsvConfig
from tpb_meter_csv.layout import PREAMBLE_ROWS, Layout, LogRow, Problem, decode, find_delimiter


@dataclass(frozen=True)
class Log:
    """Rows with their time in ns on the log's own clock (since 1970, or since the log began), in the order of the file."""

    rows: Sequence[LogRow]
    times_ns: Sequence[int]
    problems: Sequence[Problem]

    @property
    def stamp_step_ns(self) -> int:
        """The step in which the log writes its times: 10^9 for whole seconds. At least 1 microsecond."""
        step = math.gcd(*self.times_ns) if len(self.times_ns) > 1 else 0
        return next((unit for unit in (10**9, 10**8, 10**7, 10**6, 10**5, 10**4) if step and step % unit == 0), 1000)

    @property
    def row_interval_ns(self) -> int | None:
        """Median time between two rows."""
        steps = sorted(later - earlier for earlier, later in itertools.pairwise(self.times_ns) if later > earlier)
        return steps[len(steps) // 2] if steps else None


def read_log(config: CsvConfig, columns: Sequence[Column]) -> Log:
    """The log at `config.path`. Raises BadInput, naming file and line, where it cannot be used at all."""
    path = Path(config.path)
    try:
        text = decode(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}", "Check meter.csv.path.") from error
    return parse_log(text, config, columns)


def parse_log(text: str, config: CsvConfig, columns: Sequence[Column]) -> Log:
    """The log in a text. Whatever the text: rows, or BadInput; never another exception, and never a number that is not in it."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    layout = Layout(config, columns)
    layout.delimiter = config.delimiter or find_delimiter([line for line in lines[:200] if line.strip()], config.decimal)
    rows: list[LogRow] = []
    problems: list[Problem] = []
    preamble: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            cells = layout.cells(line)
        except ValueError as error:
            problems.append(Problem(number, str(error)))
            continue
        if layout.needs_heading:
            if not layout.meet_heading(cells) and number > PREAMBLE_ROWS:
                break
            continue
        row, found = layout.row(number, cells)
        if row is not None:
            rows.append(row)
        # Rows above the first usable one are the instrument's preamble, unless none follows.
        (problems if rows else preamble).extend(found)
    if layout.needs_heading:
        wanted = ", ".join(repr(source) for source in [config.time, *(column.source for column in columns)])
        raise BadInput(
            f"{config.path}: no line names the columns {wanted}",
            f"Give the headings as they stand in the file (delimiter {layout.delimiter!r}), or numbers from 1.",
        )
    if not rows:
        what = str((preamble or problems)[-1]) if preamble or problems else "it is empty"
        raise BadInput(
            f"{config.path}: no row can be used; {what}",
            "Check meter.csv.time, meter.csv.time_format (for example '%d.%m.%Y %H:%M:%S') and meter.csv.time_zone.",
        )
    if rows[0].stamp.first_ns > rows[-1].stamp.second_ns:
        rows.reverse()  # exports that begin with the newest row
    try:
        times_ns = in_order([row.stamp for row in rows])
    except ValueError as error:
        raise BadInput(f"{config.path}: {error}", "For example meter.csv.time_zone=UTC, if the logger can write that.") from error
    return _without_steps_back(rows, times_ns, problems)


def _without_steps_back(rows: list[LogRow], times_ns: list[int], problems: list[Problem]) -> Log:
    """A row that is older than one before it was stamped by a clock that had been put back: it cannot be placed."""
    kept_rows: list[LogRow] = []
    kept_times: list[int] = []
    for row, time_ns in zip(rows, times_ns, strict=True):
        if kept_times and time_ns < kept_times[-1]:
            problems.append(Problem(row.line, f"its time lies {(kept_times[-1] - time_ns) * 1e-9:.3f} s before that of an earlier row"))
            continue
        kept_rows.append(row)
        kept_times.append(time_ns)
    return Log(kept_rows, kept_times, problems)
