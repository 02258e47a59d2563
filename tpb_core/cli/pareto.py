"""`tpb pareto [CONDITION]`: energy against speed over the database; which configurations no other one beats in both."""

from __future__ import annotations

import shutil
import sys

from tpb_core.api.errors import EXIT_DONE, BadInput
from tpb_core.cli.words import Words
from tpb_core.cli.written_file import write_text

FORMATS = ("table", "csv", "json", "markdown")
USAGE = f"""\
Usage: tpb pareto ["CONDITION"] [FLAGS]

Repeats of one configuration are taken together. A configuration is on the front when none has less energy at its speed or better; where
the energies of two cannot be told apart, that is a tie. CONDITION is what could follow "where" in a query of the view results.

  tpb pareto "model = 'llama-3.1-8b'" --speed tpot_p95_ms --svg front.svg

  --energy NAME        token (default): J per output token; request: J per request
  --speed NAME         output_tokens_per_s (default), requests_per_s, or ttft_, tpot_, itl_ (_ms), latency_ (_s) with
                       mean, p50, p90, p95 or p99: tpot_p95_ms, latency_p99_s
  --svg FILE           draw it
  --csv FILE           write the table, not rounded
  --format NAME        {", ".join(FORMATS)}
  --scope NAME         total (default), gpu, package, node, ...
  --window NAME        measure (default), steady, ...
  --with-invalid, --with-estimates, --with-simulated, --with-reported
                       take in what is left out otherwise
  --database FILE      default: runs/tpb.duckdb
  -h, --help           print this
"""


def main(argv: list[str]) -> int:
    """The command. Exit code 2 for bad input, 3 where nothing can stand side by side."""
    words = Words(
        "pareto",
        argv,
        values={
            "--energy": "token", "--speed": "output_tokens_per_s", "--svg": None, "--csv": None, "--format": "table", "--scope": "total",
            "--window": "measure", "--database": "runs/tpb.duckdb",
        },
        switches=("--with-invalid", "--with-estimates", "--with-simulated", "--with-reported"),
    )  # fmt: skip
    if words.help:
        print(USAGE, end="")
        return EXIT_DONE
    if len(words.plain) > 1:
        raise BadInput("more than one condition was given.", "Put the whole condition in quotes.")
    answer_format = words.choice("--format", FORMATS)
    from tpb_core.report.comparison.admission import Permissions
    from tpb_core.report.comparison.selection import all_runs
    from tpb_core.report.pareto.configurations import field_of, remarks
    from tpb_core.report.pareto.front import ENERGIES, SPEEDS, places
    from tpb_core.report.pareto.pareto_picture import pareto_picture
    from tpb_core.report.pareto.pareto_rows import pareto_table, pareto_text
    from tpb_core.store.answers import TEXT_FORMATS, as_csv

    energy, speed, scope = words.choice("--energy", list(ENERGIES)), words.choice("--speed", list(SPEEDS)), words.value("--scope")
    records = all_runs(words.path("--database"), words.plain[0] if words.plain else None, words.value("--window"))
    field = field_of(
        records, scope, Permissions(*(words.on(f"--with-{what}") for what in ("invalid", "estimates", "simulated", "reported")))
    )
    found, lacking = places(field.configurations, scope=scope, energy=energy, speed=speed)
    said = [*(f"Without both figures: {label}" for label in lacking), *remarks(field, scope)]
    caption = f"{len(found)} configurations, scope {scope}; bars are 95 % intervals (total where known)"
    if target := words.optional("--svg"):
        write_text(target, pareto_picture(found, energy, speed, caption))
    rows = pareto_table(found, energy, speed, scope)
    if target := words.optional("--csv"):
        write_text(target, as_csv(rows) + "\n")
    if answer_format != "table":
        print(TEXT_FORMATS[answer_format](rows))
        return EXIT_DONE
    from rich.console import Console
    from rich.text import Text

    console = Console(width=shutil.get_terminal_size((160, 24)).columns, highlight=False, file=sys.stdout)
    console.print(pareto_text(found, energy, speed))
    for line in said:
        console.print(Text(line))
    return EXIT_DONE
