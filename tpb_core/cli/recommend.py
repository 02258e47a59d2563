"""`tpb recommend --slo ...`: the configuration with the least energy per good request under latency targets."""

from __future__ import annotations

import shutil
import sys

from tpb_core.api.errors import EXIT_DONE, BadInput
from tpb_core.cli.words import Words
from tpb_core.cli.written_file import write_text

FORMATS = ("table", "csv", "json", "markdown")
USAGE = f"""\
Usage: tpb recommend --slo TARGETS ["CONDITION"] [FLAGS]

A request is good when it ended well and met every target. A configuration meets ttft_p95=500ms when at least 95 % of the requests that
ended in the window did; failed ones did not. All energy of the window is divided by its good requests. Energies that cannot be told
apart are ties. CONDITION is what could follow "where" in a query of the view results.

  tpb recommend --slo ttft_p95=500ms,tpot_p95=50ms "model = 'llama-3.1-8b'"

  --slo TARGETS        ttft, tpot and e2e with a percentile and a unit (us, ms, s, min), joined with commas
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
    """The command. Exit code 2 for bad input, 3 where nothing can stand side by side, 0 also where nothing meets the targets."""
    words = Words(
        "recommend",
        argv,
        values={
            "--slo": None, "--svg": None, "--csv": None, "--format": "table", "--scope": "total", "--window": "measure",
            "--database": "runs/tpb.duckdb",
        },
        switches=("--with-invalid", "--with-estimates", "--with-simulated", "--with-reported"),
    )  # fmt: skip
    if words.help:
        print(USAGE, end="")
        return EXIT_DONE
    if len(words.plain) > 1:
        raise BadInput("more than one condition was given.", "Put the whole condition in quotes.")
    if words.optional("--slo") is None:
        raise BadInput("tpb recommend needs targets.", "Type for example: tpb recommend --slo ttft_p95=500ms,tpot_p95=50ms")
    answer_format = words.choice("--format", FORMATS)
    from tpb_core.report.recommendation.slo import read_targets

    targets = read_targets(words.value("--slo"))
    from tpb_core.report.comparison.admission import Permissions
    from tpb_core.report.comparison.records import WITH_REQUESTS
    from tpb_core.report.comparison.selection import all_runs
    from tpb_core.report.pareto.configurations import field_of, remarks
    from tpb_core.report.recommendation.recommendation import MISSES, UNKNOWN, recommend
    from tpb_core.report.recommendation.recommendation_picture import recommendation_picture
    from tpb_core.report.recommendation.recommendation_rows import recommendation_table, recommendation_text
    from tpb_core.store.answers import TEXT_FORMATS, as_csv

    scope = words.value("--scope")
    records = all_runs(words.path("--database"), words.plain[0] if words.plain else None, words.value("--window"), WITH_REQUESTS)
    field = field_of(
        records, scope, Permissions(*(words.on(f"--with-{what}") for what in ("invalid", "estimates", "simulated", "reported")))
    )
    candidates = recommend(field.configurations, targets, scope)
    title = f"Energy per good request under {', '.join(target.text for target in targets)} (scope {scope})"
    if target := words.optional("--svg"):
        write_text(target, recommendation_picture(candidates, title))
    rows = recommendation_table(candidates, targets)
    if target := words.optional("--csv"):
        write_text(target, as_csv(rows) + "\n")
    if answer_format != "table":
        print(TEXT_FORMATS[answer_format](rows))
        return EXIT_DONE
    from rich.console import Console
    from rich.text import Text

    console = Console(width=shutil.get_terminal_size((160, 24)).columns, highlight=False, file=sys.stdout)
    if all(candidate.standing in (MISSES, UNKNOWN) for candidate in candidates):
        console.print(Text("No configuration meets the targets.", style="bold"))
    console.print(recommendation_text(candidates, targets))
    for line in remarks(field, scope):
        console.print(Text(line))
    return EXIT_DONE
