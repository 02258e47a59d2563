"""`tpb ingest`: put bundles into the database; finish runs that were killed; rebuild the database from bundles."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tpb_core.api.errors import EXIT_BAD_INPUT, EXIT_DONE, BadInput, TpbError

if TYPE_CHECKING:
    from tpb_core.store.database import IngestReport

DEFAULT_DATABASE = "runs/tpb.duckdb"
USAGE = f"""\
Usage: tpb ingest PATH... [--database FILE] [--wait SECONDS]

PATH is a run (runs/RUN_ID), or a folder of runs (runs). What the database knows of a run is replaced, so doing it again changes nothing,
and a database that was deleted comes back. Runs that were killed are finished first and keep everything that reached the disk;
runs under way are left alone.

  --database FILE    default: {DEFAULT_DATABASE}
  --wait SECONDS     how long to wait for a database that another program has open (default: 60)
  -h, --help         print this
"""


def main(argv: list[str]) -> int:
    """The command. Exit code 2 where a bundle was refused (the others are in), 1 where the database stayed locked."""
    if not argv or any(word in ("-h", "--help") for word in argv):
        print(USAGE, end="")
        return EXIT_DONE
    paths, database, wait_s = _arguments(argv)
    from tpb_core.store.database import ingest
    from tpb_core.store.places import places_of

    places = places_of(paths)
    finished = [bundle for bundle in places.bundles if _prepare(bundle)]
    report = ingest(places.bundles, database, studies=places.studies, wait_s=wait_s)
    _print(report, finished, database)
    return EXIT_BAD_INPUT if report.refused else EXIT_DONE


run = main


def _arguments(argv: list[str]) -> tuple[list[Path], Path, float]:
    paths: list[Path] = []
    values = {"--database": DEFAULT_DATABASE, "--wait": "60"}
    words = iter(argv)
    for word in words:
        name, given, value = word.partition("=")
        if name in values:
            values[name] = value if given else next(words, "")
        elif word.startswith("-"):
            raise BadInput(f"tpb ingest knows no flag {word!r}.", "Type: tpb ingest --help")
        else:
            paths.append(Path(word))
    if not paths:
        raise BadInput("No path was given.", "Type for example: tpb ingest runs")
    try:
        wait_s = float(values["--wait"])
    except ValueError:
        raise BadInput(f"--wait takes seconds, not {values['--wait']!r}.", "Type for example: --wait 10") from None
    return paths, Path(values["--database"] or DEFAULT_DATABASE), wait_s


def _prepare(bundle: Path) -> bool:
    """Finish a killed run, and attribute a run of ours that was cut off before its energies were computed. Whether it was killed."""
    from tpb_core.store.database import finish_killed, is_killed
    from tpb_core.store.manifest import read_manifest

    try:
        killed = is_killed(bundle)
        if killed:
            finish_killed(bundle)
        manifest = read_manifest(bundle)
        attributors = list(((manifest.get("config") or {}).get("attributor") or {}).values())
        if manifest["status"] != "running" and attributors and not (bundle / "energy.parquet").exists():
            from tpb_core.run.attribution import attribute_bundle

            attribute_bundle(bundle, attributors)
    except BadInput:
        return False  # ingestion says what is wrong with it
    except TpbError as error:
        print(f"{bundle}: its energies could not be computed: {error.what}", file=sys.stderr)
        return True
    return killed


def _print(report: IngestReport, finished: list[Path], database: Path) -> None:
    for bundle in finished:
        print(f"{bundle}: was cut off; finished as partial")
    for bundle in report.live:
        print(f"{bundle}: is still going on; left alone")
    for folder, error in report.refused.items():
        print("\n".join([f"{folder}: refused", *(f"  {line}" for line in error.lines())]), file=sys.stderr)
    count = len(report.ingested)
    studies = f" and {len(report.studies)} studies" if report.studies else ""
    print(f"{count} run{'' if count == 1 else 's'}{studies} in {database}")
