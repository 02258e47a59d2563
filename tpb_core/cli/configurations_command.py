"""What `tpb pareto` and `tpb recommend` share: which runs they take in, and where their answer goes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tpb_core.api.errors import EXIT_DONE, BadInput
from tpb_core.cli.words import Words
from tpb_core.cli.written_file import write_text

if TYPE_CHECKING:
    import pyarrow as pa

    from tpb_core.report.pareto.configurations import Field

_FORMATS = ("table", "csv", "json", "markdown")
_PERMITTED = ("invalid", "estimates", "simulated", "reported")
_VALUES = {"--svg": None, "--csv": None, "--format": "table", "--scope": "total", "--window": "measure", "--database": "runs/tpb.duckdb"}
FLAGS = f"""\
  --svg FILE           draw it
  --csv FILE           write the table, not rounded
  --format NAME        {", ".join(_FORMATS)}
  --scope NAME         total (default), gpu, package, node, ...
  --window NAME        measure (default), steady, ...
  --with-invalid, --with-estimates, --with-simulated, --with-reported
                       take in what is left out otherwise
  --database FILE      default: runs/tpb.duckdb
  -h, --help           print this
"""
"""The lines of the usage that both print."""


def words_of(command: str, argv: list[str], own: dict[str, str | None]) -> Words:
    """The command line. `own`: the flags that only this command takes. Raises BadInput."""
    words = Words(command, argv, values={**own, **_VALUES}, switches=[f"--with-{what}" for what in _PERMITTED])
    if len(words.plain) > 1:
        raise BadInput("more than one condition was given.", "Put the whole condition in quotes.")
    words.choice("--format", _FORMATS)
    return words


def field_from(words: Words, tables: Sequence[str]) -> Field:
    """The configurations that may stand side by side, with these tables of their runs. Raises BadInput, Refused."""
    from tpb_core.report.comparison.admission import Permissions
    from tpb_core.report.comparison.selection import all_runs
    from tpb_core.report.pareto.configurations import field_of

    condition = words.plain[0] if words.plain else None
    records = all_runs(words.path("--database"), condition, words.value("--window"), tables)
    return field_of(records, words.value("--scope"), Permissions(*(words.on(f"--with-{what}") for what in _PERMITTED)))


def answer(words: Words, rows: pa.Table, picture: Callable[[], str], shown: Any, before: Sequence[str], after: Sequence[str]) -> int:
    """Write the files that were asked for and print the answer: `shown` between lines `before` and `after`, or `rows` as text."""
    from tpb_core.store.answers import TEXT_FORMATS, as_csv

    if target := words.optional("--svg"):
        write_text(target, picture())
    if target := words.optional("--csv"):
        write_text(target, as_csv(rows) + "\n")
    if (form := words.value("--format")) != "table":
        print(TEXT_FORMATS[form](rows))
        return EXIT_DONE
    from rich.console import Console
    from rich.text import Text

    console = Console(width=shutil.get_terminal_size((160, 24)).columns, highlight=False, file=sys.stdout)
    for line in before:
        console.print(Text(line, style="bold"))
    console.print(shown)
    for line in after:
        console.print(Text(line))
    return EXIT_DONE
