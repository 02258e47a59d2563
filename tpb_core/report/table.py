"""What `tpb` prints at its end: one run in full, or a line for each run of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tpb_core.hooks import Hooks, ReportColumn
from tpb_core.report.evidence_level import level_lines, levels_of
from tpb_core.report.figures import Figure, energy_figures, performance_figures
from tpb_core.report.run_facts import RunFacts
from tpb_core.report.run_text import NOT_MEASURED, headline, remarks, ungraded, without_sensor
from tpb_core.report.study_engines import engine_remarks
from tpb_core.report.study_table import study_table

_QUESTION = "select engine, model, j_per_output_token, ci_low, ci_high, evidence from results where scope='total' and window='measure'"
"""A row a run."""
_NARROWEST, _WIDTH_OF_FILES, _WIDTH_OF_STUDIES = 110, 150, 250


def result_console() -> Console:
    """Standard output: as wide as the terminal, but never so narrow that columns are cut off; a file has room for everything."""
    console = Console()
    return Console(width=max(console.width, _NARROWEST) if console.is_terminal else _WIDTH_OF_FILES)


def print_run(bundles: Sequence[Path], console: Console, database: Path | None = None) -> None:
    """Print finished bundles. What comes from prompts, models or devices is printed as plain text, never as markup."""
    if len(bundles) == 1:
        _print_one(bundles[0], console)
    else:
        runs = [RunFacts.read(bundle) for bundle in bundles]
        wide = console if console.is_terminal else Console(file=console.file, width=_WIDTH_OF_STUDIES)
        wide.print(study_table(runs))
        for line in engine_remarks(runs):
            console.print(Text(line, style="yellow"))
        _print_level(runs, console)
    _print_places(bundles, console, database)


def _print_one(bundle: Path, console: Console) -> None:
    facts = RunFacts.read(bundle)
    columns = Hooks.of_installed_plugins().report_columns(bundle)
    console.print()
    console.print(Text(headline(facts), style="bold"))
    if not facts.observed:
        console.print(_figures_table(list(performance_figures(facts)), columns))
    if facts.measured:
        console.print(_figures_table(list(energy_figures(facts)), columns))
    else:
        console.print(Panel(Text("\n".join([NOT_MEASURED, "", *without_sensor(facts)])), border_style="yellow"))
        declared = [figure for figure in energy_figures(facts) if figure.evidence == "estimated"]
        if declared:
            console.print(Text("From the power model that you declared (an estimate):"))
            console.print(_figures_table(declared, columns))
    for column in columns:
        if not column.beside:
            console.print(Text(f"{column.title}: {column.value}" + (f" ({column.note})" if column.note else "")))
    for line in remarks(facts):
        console.print(Text(line, style="yellow"))
    _print_level([facts], console)
    if (text := ungraded(facts)) is not None:
        console.print(Text(text))


def _print_level(runs: Sequence[RunFacts], console: Console) -> None:
    """What the repeats are worth as evidence. A run without a sensor says what is missing already; what is only watched has no repeats."""
    measured = [run for run in runs if run.measured and not run.observed]
    levels = levels_of([run.bundle for run in measured]) if len(measured) > 1 else [run.level for run in measured]
    for line in level_lines(levels):
        console.print(Text(line))


def _figures_table(figures: list[Figure], columns: list[ReportColumn]) -> Table:
    beside = [column for column in columns if any(column.beside == figure.title for figure in figures)]
    headers = list(dict.fromkeys(column.title for column in beside))
    shown = [name for name in ("scope", "evidence") if any(getattr(figure, name) for figure in figures)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, justify in (("", "left"), ("value", "right"), ("unit", "left"), ("95 % interval", "left")):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name in [*headers, *shown, "method"]:
        table.add_column(name)
    for figure in figures:
        extra = [next((c.value for c in beside if c.title == header and c.beside == figure.title), "") for header in headers]
        cells = [
            figure.title,
            figure.value,
            figure.unit,
            figure.interval,
            *extra,
            *(getattr(figure, name) for name in shown),
            figure.method,
        ]
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _print_places(bundles: Sequence[Path], console: Console, database: Path | None) -> None:
    console.print()
    where = str(bundles[0]) if len(bundles) == 1 else f"{bundles[0].parent} ({len(bundles)} runs)"
    console.print(Text(f"Bundle:    {where}"), soft_wrap=True)
    if database is not None:
        console.print(Text(f"Database:  {database}"), soft_wrap=True)
        option = "" if str(database) == "runs/tpb.duckdb" else f" --database {database}"
        console.print(
            Text(f'Ask it:    tpb sql{option} "{_QUESTION}"'),
            soft_wrap=True,
        )
