"""`tpb report RUN`: one run as a single HTML file that works offline."""

from __future__ import annotations

import sys
from pathlib import Path

from tpb_core.api.errors import EXIT_DONE, BadInput
from tpb_core.cli.words import Words

USAGE = """\
Usage: tpb report RUN [-o FILE] [--database FILE]

RUN is the folder of a run (runs/RUN_ID) or its id. Writes one HTML file that needs no network and no script: power traces with phases,
energy balance, requests, uncertainty budget, validity, what was not measured and why, environment.

  -o, --output FILE  default: RUN_ID.html beside the run's folder; - is the standard output
  --database FILE    where a run id is looked up (default: runs/tpb.duckdb)
  -h, --help         print this
"""


def main(argv: list[str]) -> int:
    """The command. Exit code 2 for what is no finished run."""
    argv = [f"--output{word[2:]}" if word == "-o" or word.startswith("-o=") else word for word in argv]
    words = Words("report", argv, values={"--output": None, "--database": "runs/tpb.duckdb"})
    if words.help or not argv:
        print(USAGE, end="")
        return EXIT_DONE
    if len(words.plain) != 1:
        raise BadInput("a report is about one run.", "Type for example: tpb report runs/RUN_ID")
    bundle = bundle_of(words.plain[0], words.path("--database"))
    from tpb_core.report.page.page import page_of

    html = page_of(bundle)
    output = words.optional("--output")
    if output == "-":
        sys.stdout.write(html)
        return EXIT_DONE
    target = Path(output) if output else bundle.resolve().parent / f"{bundle.resolve().name}.html"
    try:
        target.write_text(html, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{target} cannot be written: {error.strerror}", "Give another file: -o FILE") from None
    print(target)
    return EXIT_DONE


def bundle_of(word: str, database: Path) -> Path:
    """The folder of a run. Raises BadInput."""
    for folder in (Path(word), database.parent / word):
        if (folder / "manifest.json").is_file():
            return folder
    if database.exists():
        from tpb_core.report.comparison.records import quoted
        from tpb_core.store.query import query

        for row in query(database, f"SELECT bundle FROM runs WHERE run_id = {quoted(word)}").to_pylist():
            if (Path(row["bundle"]) / "manifest.json").is_file():
                return Path(row["bundle"])
            raise BadInput(f"the folder of {word} is gone: {row['bundle']}", "A report needs the samples, which are only there.")
    raise BadInput(f"{word!r} is no run.", 'List them with:  tpb sql "select run_id, engine, model from runs"')
