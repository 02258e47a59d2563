"""`tpb [overrides]`: compose the points, plan, measure, put into the database, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tpb_core.api.errors import EXIT_DONE, TpbError
from tpb_core.cli.flags import Flags, read_flags

if TYPE_CHECKING:
    from tpb_core.config.schema import Point
    from tpb_core.run.plan import Plan
    from tpb_core.run.study import StudyOutcome

_DATABASE_WAIT_S = 10.0


def main(argv: list[str]) -> int:
    """Measure what the words describe. Returns 0, or the exit code of the first thing that went wrong."""
    flags = read_flags(argv)
    if flags.help:
        from tpb_core.cli.option_help import print_option_help

        print_option_help(flags.words)
        return EXIT_DONE
    points = _points(flags)
    from tpb_core.cli import plan_text
    from tpb_core.run.output_folder import check_output_folder
    from tpb_core.run.plan import make_plan

    plan = make_plan(points, multirun=flags.multirun, rerun=flags.rerun)
    if flags.dry_run:
        plan_text.print_plan(plan)
        return EXIT_DONE
    check_output_folder(Path(points[0].out.dir))
    plan_text.announce(plan)
    return _measure(plan, wait=not flags.no_wait)


def _points(flags: Flags) -> list[Point]:
    from tpb_core.config.compose import compose
    from tpb_core.config.sweep import expand

    return [compose(words) for words in expand(flags.words, multirun=flags.multirun)]


def _measure(plan: Plan, *, wait: bool) -> int:
    from rich.console import Console

    from tpb_core.cli.progress_bar import ProgressBar
    from tpb_core.report.study_phases import study_phases
    from tpb_core.report.table import print_run, result_console
    from tpb_core.run.study import run_study

    with ProgressBar(Console(stderr=True)) as progress:
        outcome = run_study(plan, progress, wait=wait)
    not_ingested = EXIT_DONE
    if outcome.bundles:
        database = _database(plan)
        console = result_console()
        study = _attribute_study(plan, outcome)
        not_ingested = _put_into_database(outcome, database, study)
        print_run(outcome.bundles, console, database)
        if study is not None and (table := study_phases(study)) is not None:
            console.print(table)
    return _exit_code(plan, outcome) or not_ingested


def _database(plan: Plan) -> Path:
    out = plan.slots[0].point.out
    return Path(out.database) if out.database is not None else Path(out.dir) / "tpb.duckdb"


def _attribute_study(plan: Plan, outcome: StudyOutcome) -> Path | None:
    """What the attributors of a whole study make of its runs, beside them in studies/<study_id>/; None where none was asked for."""
    from tpb_core.run.attribution import attribute_study

    point = plan.slots[0].point
    folder = Path(point.out.dir) / "studies" / plan.study_id
    report = attribute_study(outcome.bundles, point.attributors, folder)
    for name, refusal in report.refused.items():
        print(f"{name} does not apply to this study: " + "\n".join(refusal.lines()), file=sys.stderr)
    return folder if report.methods else None


def _put_into_database(outcome: StudyOutcome, database: Path, study: Path | None) -> int:
    """After the study, because the database has one writer at a time. Returns an exit code.

    A database that is locked is no failure: the bundles are complete and wait. One that cannot be used, or a bundle that it refuses, is.
    """
    from tpb_core.store.connection import DatabaseLocked
    from tpb_core.store.database import ingest

    try:
        report = ingest(outcome.bundles, database, studies=[study] if study is not None else (), wait_s=_DATABASE_WAIT_S)
    except TpbError as error:
        folder = outcome.bundles[0].parent
        print("\n".join([*error.lines(), f"The bundles are kept. Put them in later:  tpb ingest {folder}"]), file=sys.stderr)
        return EXIT_DONE if isinstance(error, DatabaseLocked) else error.exit_code
    for bundle, refusal in report.refused.items():
        print(f"{bundle}: not put into the database: " + "\n".join(refusal.lines()), file=sys.stderr)
    return next((refusal.exit_code for refusal in report.refused.values()), EXIT_DONE)


def _exit_code(plan: Plan, outcome: StudyOutcome) -> int:
    """Of the interruption if there was one, else of the first failure; each failure is said once more at the end."""
    from tpb_core.api.errors import EXIT_INTERRUPTED
    from tpb_core.run.plan import slot_text

    for slot, error in outcome.failures:
        name = f"{slot_text(plan, slot)}: " if len(plan.slots) > 1 else ""
        print(name + "\n".join(error.lines()), file=sys.stderr)
    codes = [error.exit_code for _, error in outcome.failures]
    return EXIT_INTERRUPTED if EXIT_INTERRUPTED in codes else next(iter(codes), EXIT_DONE)
