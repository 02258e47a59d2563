"""`tpb compare A B [...]`: ratios of runs, studies or queries, with intervals in which only errors of the same sensor cancel."""

from __future__ import annotations

import shutil
import sys

from tpb_core.api.errors import EXIT_DONE, BadInput
from tpb_core.cli.words import Words

FORMATS = ("table", "csv", "json", "markdown")
USAGE = f"""\
Usage: tpb compare A B [...] [FLAGS]

A, B, ... are run ids, study ids, folders of bundles (several joined with commas), or conditions in quotes. The first is the baseline:
each of the others is divided by it.

  tpb compare runs/RUN1 runs/RUN2
  tpb compare "engine = 'vllm' and load_size = 8" "engine = 'hf' and load_size = 8"

  --scope NAME         total (default), gpu, package, dram, node, ...
  --window NAME        measure (default), steady, ...
  --phase NAME         prefill or decode alone; refused (exit code 3) where the two sides have it by other methods
  --paired             the runs are pairs, by their start (default: as the study's order says)
  --independent        they are not
  --with-invalid       take in runs that are not valid; the reason is shown
  --with-estimates     take in energies that are estimates
  --with-reported      take in energies that an imported source reported without samples
  --with-simulated     let simulated runs stand beside real ones
  --format NAME        {", ".join(FORMATS)}
  --database FILE      default: runs/tpb.duckdb
  -h, --help           print this

The total interval decides whether there is a difference. Gain errors cancel only where both sides were measured by the same sensor;
where nothing is known of a sensor's errors, there is no total interval (no_calibration_data). Phases of whole studies
(+experiment=phases) are compared where both sides are such studies. Exit code 3: must not be compared.
"""


def main(argv: list[str]) -> int:
    """The command. Exit code 2 for words that name nothing, 3 for runs that must not be compared."""
    words = Words(
        "compare",
        argv,
        values={"--phase": None, "--scope": "total", "--window": "measure", "--format": "table", "--database": "runs/tpb.duckdb"},
        switches=("--paired", "--independent", "--with-invalid", "--with-estimates", "--with-simulated", "--with-reported"),
    )
    if words.help or not argv:
        print(USAGE, end="")
        return EXIT_DONE
    if len(words.plain) < 2:
        raise BadInput("a comparison needs two groups of runs.", "Type for example: tpb compare runs/RUN1 runs/RUN2")
    if words.on("--paired") and words.on("--independent"):
        raise BadInput("--paired and --independent exclude each other.", "Give one of them.")
    phase = None if words.optional("--phase") is None else words.choice("--phase", ("prefill", "decode"))
    answer_format = words.choice("--format", FORMATS)
    from tpb_core.report.comparison.admission import Permissions
    from tpb_core.report.comparison.comparison import compare
    from tpb_core.report.comparison.selection import group_of

    database, window = words.path("--database"), words.value("--window")
    groups = [group_of(word, database, window) for word in words.plain]
    permissions = Permissions(*(words.on(f"--with-{what}") for what in ("invalid", "estimates", "simulated", "reported")))
    pairing = "paired" if words.on("--paired") else "independent" if words.on("--independent") else "auto"
    comparisons = [
        compare(groups[0], group, window=window, scope=words.value("--scope"), permissions=permissions, pairing=pairing, phase=phase)
        for group in groups[1:]
    ]
    if answer_format != "table":
        from tpb_core.report.comparison.comparison_rows import comparison_table
        from tpb_core.store.answers import TEXT_FORMATS

        print(TEXT_FORMATS[answer_format](comparison_table(comparisons)))
        return EXIT_DONE
    from rich.console import Console

    from tpb_core.report.comparison.comparison_text import print_comparison

    console = Console(width=shutil.get_terminal_size((160, 24)).columns, highlight=False, file=sys.stdout)
    for number, comparison in enumerate(comparisons):
        if number:
            console.print()
        print_comparison(comparison, console)
    return EXIT_DONE
