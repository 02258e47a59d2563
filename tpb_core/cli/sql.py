"""`tpb sql`: one query, or a shell that opens the database for each query and closes it again, so that runs can go on."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tpb_core.api.errors import EXIT_DONE, BadInput, TpbError

DEFAULT_DATABASE = "runs/tpb.duckdb"
_FORMATS = ("table", "csv", "json", "parquet", "markdown")
USAGE = f"""\
Usage: tpb sql ["QUERY"] [--format {"|".join(_FORMATS)}] [--database FILE]

Asks the database of results, read-only. Without a query: an interactive shell (end a query with a semicolon).

  --format NAME      table (default), csv, json, parquet (redirect it to a file), markdown
  --database FILE    default: {DEFAULT_DATABASE}
  -h, --help         print this

Views: results, study_results, evidence_levels, phases, energy_balance, samples, steps. All columns:  tpb sql "DESCRIBE results"
  tpb sql "select engine, model, j_per_output_token, ci_low, ci_high, reason from results where scope='total' and window='measure'"
"""
_SHELL_HELP = """\
End a query with a semicolon. Words that are commands when they stand alone on a line:
  .tables          tables and views          .columns NAME    columns of one of them
  .format NAME     table, csv, json, markdown
  .help            print this                .quit            leave (or Ctrl-D)
"""
_PROMPT, _CONTINUED = "tpb> ", "...> "


@dataclass
class _Asked:
    query: str | None = None
    format: str = "table"
    database: Path = Path(DEFAULT_DATABASE)


def main(argv: list[str]) -> int:
    """The command. Exit code 2 for a query that DuckDB does not understand and for a database that is missing or from a newer tpb."""
    if any(word in ("-h", "--help") for word in argv):
        print(USAGE, end="")
        return EXIT_DONE
    asked = _arguments(argv)
    if asked.query is None:
        return _Shell(asked).run()
    _print_answer(asked, asked.query)
    return EXIT_DONE


run = main


def _arguments(argv: list[str]) -> _Asked:
    asked = _Asked()
    words = iter(argv)
    for word in words:
        name, given, value = word.partition("=")
        if name in ("--format", "--database"):
            value = value if given else next(words, "")
            if not value:
                raise BadInput(f"{name} needs a value.", "Type: tpb sql --help")
            if name == "--database":
                asked.database = Path(value)
            else:
                asked.format = _known_format(value)
        elif word.startswith("--") and not word.startswith("-- "):
            raise BadInput(f"tpb sql knows no flag {word!r}.", "Type: tpb sql --help")
        elif asked.query is not None:
            raise BadInput("More than one query was given.", 'Put the whole query in quotes: tpb sql "select * from runs"')
        else:
            asked.query = word
    return asked


def _known_format(name: str) -> str:
    if name not in _FORMATS:
        raise BadInput(f"There is no format {name!r}.", f"Formats: {', '.join(_FORMATS)}")
    return name


def _print_answer(asked: _Asked, query: str) -> None:
    from tpb_core.store.answers import TEXT_FORMATS, as_parquet, as_table
    from tpb_core.store.query import query as ask

    if asked.format == "parquet" and sys.stdout.isatty():
        raise BadInput("Parquet is not for terminals.", 'Redirect it: tpb sql "..." --format parquet > answer.parquet')
    answer = ask(asked.database, query)
    if asked.format == "parquet":
        sys.stdout.buffer.write(as_parquet(answer))
    elif asked.format == "table":
        print(as_table(answer, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    else:
        print(TEXT_FORMATS[asked.format](answer))


class _Shell:
    """Reads queries from the terminal, or from a pipe, until the end of input."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked
        self._at_terminal = sys.stdin.isatty()

    def run(self) -> int:
        """The loop. From a pipe the first error ends it, with its exit code; at a terminal errors are printed."""
        if self._at_terminal:
            import readline  # noqa: F401 - line editing and history for input()

            print(f"{self._asked.database} (read-only). .help for help, .quit or Ctrl-D to leave.")
        pending: list[str] = []
        while True:
            try:
                line = self._read(bool(pending))
            except KeyboardInterrupt:  # drops what was typed so far
                print()
                pending = []
                continue
            if line is None:
                break
            if not pending and line.strip().startswith("."):
                if self._command(line.strip()):
                    return EXIT_DONE
                continue
            pending.append(line)
            if line.rstrip().endswith(";"):
                self._answer("\n".join(pending))
                pending = []
        if "".join(pending).strip():
            self._answer("\n".join(pending))
        return EXIT_DONE

    def _read(self, continued: bool) -> str | None:
        try:
            return input((_CONTINUED if continued else _PROMPT) if self._at_terminal else "")
        except EOFError:
            if self._at_terminal:
                print()
            return None

    def _command(self, line: str) -> bool:
        """Do a dot command; whether it was the last one."""
        name, _, value = line.partition(" ")
        if name in (".quit", ".exit"):
            return True
        if name == ".tables":
            self._answer("SELECT table_name AS name, table_type AS kind FROM information_schema.tables ORDER BY table_type, table_name")
        elif name == ".columns" and value:
            self._answer(f'DESCRIBE "{value.strip()}"')
        elif name == ".format":
            self._try(lambda: setattr(self._asked, "format", _known_format(value.strip())))
        else:
            print(_SHELL_HELP, end="")
        return False

    def _answer(self, query: str) -> None:
        self._try(lambda: _print_answer(self._asked, query))

    def _try(self, work: object) -> None:
        assert callable(work)
        try:
            work()
        except TpbError as error:
            if not self._at_terminal:
                raise
            print("\n".join(error.lines()), file=sys.stderr)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
