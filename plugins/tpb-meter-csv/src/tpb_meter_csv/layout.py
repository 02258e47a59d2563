"""How one log is laid out: encoding, delimiter, heading, and which cell of a row is what."""

from __future__ import annotations

import codecs
import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tpb_core.api import BadInput
from tpb_core.api.described import Column, parse_value
from tpb_core.api.timestamps import Stamp, StampFormat, parse_elapsed_ns
from tpb_meter_csv.config import CsvConfig

_DELIMITERS = (";", "\t", "|", ",")
PREAMBLE_ROWS = 100
"""Instruments write their name, serial number and settings above the heading."""


@dataclass(frozen=True)
class LogRow:
    """One usable row: the stamp on the log's clock and the values in SI units by column name."""

    line: int
    stamp: Stamp
    values: dict[str, float]


@dataclass(frozen=True)
class Problem:
    """A cell or row that could not be used, with its line in the file (from 1)."""

    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


def decode(raw: bytes) -> str:
    """The text of a log: UTF-8, UTF-16 with its mark, else Latin-1 (which takes any byte)."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def find_delimiter(lines: Sequence[str], decimal: str) -> str:
    """The delimiter that most lines hold; a decimal comma is none. A log of one column gives a comma (or a semicolon)."""
    candidates = [d for d in _DELIMITERS if d != decimal]
    counts = {d: statistics.median([line.count(d) for line in lines]) if lines else 0 for d in candidates}
    return max(candidates, key=lambda d: (counts[d] > 0, counts[d]))


class Layout:
    """Places of the columns in the rows of one log."""

    def __init__(self, config: CsvConfig, columns: Sequence[Column]) -> None:
        self.config = config
        self.columns = list(columns)
        self._time_sources = [part.strip() for part in config.time.split(" + ")]
        self._elapsed = config.time_format if config.time_format in ("elapsed_s", "elapsed_ms") else None
        self._stamps = StampFormat("unix_s" if self._elapsed else config.time_format, config.time_zone or None)
        self._places: dict[str, int] | None = None
        self.delimiter = config.delimiter
        sources = [*self._time_sources, *(column.source for column in columns)]
        if all(source.isascii() and source.isdigit() for source in sources):
            self._places = {source: int(source) - 1 for source in sources}
        if any(source == "0" for source in sources):
            raise BadInput(f"{config.path}: there is no column 0", "Columns are counted from 1.")

    @property
    def needs_heading(self) -> bool:
        """Whether the heading has not been met yet."""
        return self._places is None

    def meet_heading(self, cells: Sequence[str]) -> bool:
        """Take a row as the heading if it names every column that is wanted by name. Returns whether it does."""
        names = [cell.strip().strip("\"'").lower() for cell in cells]
        places: dict[str, int] = {}
        for source in [*self._time_sources, *(column.source for column in self.columns)]:
            if source.lower() in names:
                places[source] = names.index(source.lower())
            elif source.isascii() and source.isdigit():
                places[source] = int(source) - 1
            else:
                return False
        self._places = places
        return True

    def cells(self, line: str) -> list[str]:
        """The cells of a line. Raises ValueError for a line that is no row of a table."""
        try:
            return next(csv.reader([line], delimiter=self.delimiter, skipinitialspace=True), [])
        except csv.Error as error:
            raise ValueError(str(error)) from error

    def row(self, line: int, cells: Sequence[str]) -> tuple[LogRow | None, list[Problem]]:
        """What a row says, and what of it could not be used. A row without a time says nothing."""
        assert self._places is not None, "the heading comes first"
        try:
            stamp = self._stamp(" ".join(cells[self._places[source]] for source in self._time_sources))
        except IndexError:
            return None, [Problem(line, f"has {len(cells)} columns, and the time should be in {self.config.time!r}")]
        except ValueError as error:
            return None, [Problem(line, f"time: {error}")]
        values: dict[str, float] = {}
        problems: list[Problem] = []
        for column in self.columns:
            place = self._places[column.source]
            try:
                value = parse_value(cells[place] if place < len(cells) else "", column, self.config.decimal)
            except ValueError as error:
                problems.append(Problem(line, f"{column.name}: {error}"))
                continue
            if value is not None and column.quantity.kind == "energy_counter" and value < 0:
                problems.append(Problem(line, f"{column.name}: {cells[place]!r} is a negative energy"))
            elif value is not None:
                values[column.name] = value
        return LogRow(line, stamp, values), problems

    def _stamp(self, text: str) -> Stamp:
        if self._elapsed:
            elapsed_ns = parse_elapsed_ns(text, self._elapsed)
            return Stamp(elapsed_ns, elapsed_ns)
        return self._stamps.parse(text)
