"""The commands with what `--help` prints."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable

from generator.markdown import code, indented, table
from tpb_core.cli import main as cli


def page(broken: dict[str, str]) -> str:
    """`tpb --help`, then each command of the dispatcher. Commands that cannot be imported are added to `broken`."""
    lines = [
        "# Commands",
        "",
        *table(
            ("command", "what it does"), [("`tpb [NAME=VALUE ...]`", "measure"), *((code(f"tpb {n}"), t) for n, t in cli.COMMANDS.items())]
        ),
        "Exit codes are in [codes](codes.md#exit-codes), options in [options](options.md).",
        "",
        "## tpb",
        "",
        *indented(_printed(lambda: cli.main(["--help"]))),
    ]
    for name in cli.COMMANDS:
        try:
            importlib.import_module(f"tpb_core.cli.{name}")
        except ImportError as error:
            broken[f"tpb {name}"] = str(error)
            continue
        lines += [f"## tpb {name}", "", cli.COMMANDS[name] + ".", "", *indented(_help_of(name))]
    return "\n".join(lines)


def _help_of(name: str) -> str:
    module = importlib.import_module(f"tpb_core.cli.{name}")
    text = _printed(lambda: module.main(["--help"]))
    if not text.strip():
        raise SystemExit(f"tpb {name} --help prints nothing")
    subcommands = _subcommands(text)
    return "\n\n".join([text.strip("\n"), *(_printed(lambda sub=sub: module.main([sub, "--help"])).strip("\n") for sub in subcommands)])


def _subcommands(text: str) -> list[str]:
    """Of an argparse usage line such as `usage: tpb env [-h] {create,list} ...`."""
    first = text.lstrip().split("\n", 1)[0]
    if not first.startswith("usage:") or "{" not in first:
        return []
    return first[first.index("{") + 1 : first.index("}")].split(",")


def _printed(work: Callable[[], int]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        work()
    return out.getvalue()
