"""The command `tpb`: find the command, hand it its words, turn whatever it raises into lines on stderr and an exit code.

Imports nothing beyond the standard library and `tpb_core.api.errors`; each command imports what it needs when it is called.
"""

from __future__ import annotations

import importlib
import os
import sys

from tpb_core.api.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_REFUSED, BadInput, TpbError

COMMANDS = {
    "measure": "every meter around any program: `tpb measure -- COMMAND ...`",
    "attach": "a running inference server under its own traffic: `tpb attach URL --for 10m`",
    "watch": "what every meter reads, live in the terminal",
    "characterise": "averaging window and delay of power sensors, found with a load that is switched on and off",
    "calibrate": "gain and offset of a channel against a reference meter: `--reference CHANNEL`",
    "doctor": "which engines and meters work here, which do not, why, and what to type",
    "plugins": "what is installed: `list`, `show NAME`",
    "sql": "ask the database of results; alone, an interactive shell",
    "ingest": "put bundles into the database; finishes runs that were killed",
    "attribute": "compute the energies of a bundle again",
    "compare": "ratios of runs, studies or queries, with intervals in which only errors of the same sensor cancel",
    "pareto": "which configurations no other beats in energy and speed at once; as table, CSV and picture",
    "recommend": "least energy per good request under latency targets: `--slo ttft_p95=500ms,tpot_p95=50ms`",
    "report": "one run as a single HTML file that works offline",
    "env": "interpreters of their own for engines: `create NAME`, `list`",
}
"""Command -> one line. Each is the module `tpb_core.cli.<command>` with `main(argv) -> exit code`."""

CORE_LIBRARIES = {"duckdb", "hydra", "numpy", "omegaconf", "platformdirs", "pluggy", "psutil", "pyarrow", "rich", "scipy", "stevedore"}
"""Dependencies of tpb-core, of which an environment made by `tpb env create` has only what the engine worker needs."""

HELP = """\
tpb measures what LLM inference costs in energy: joules per token, request and phase.

Usage:
  tpb [GROUP=NAME ...] [OPTION=VALUE ...]     measure (without words: a small real model, every sensor of this machine)
  tpb COMMAND [...]

Commands:
{commands}

Groups: engine, meter, prompts, load, attributor, experiment. A leading + makes no difference.
  tpb +engine=sim +meter=sim                  a simulated GPU server whose true energy is known
  tpb '+meter=[rapl,estimate]'                several meters
  tpb engine.model=/path/to.gguf load.batch_size=8
  tpb -m load.batch_size=1,2,4,8              one run for each value; a second start goes on where it stopped
  tpb +experiment=publish                     the long form: idle windows, repeats, an interval between runs
  tpb +engine=llamacpp --help                 the options of what is chosen

Flags:
  -m, --multirun    several values of an option are several runs
  --dry-run         show the plan and measure nothing
  --rerun           measure again what is finished already
  --no-wait         refuse (exit code 3) while another measurement is under way, instead of waiting
  --traceback       show where an error was raised
  --version         print the version
  -h, --help        print this

Exit codes: 0 done; 1 a measurement failed or is partial; 2 bad input; 3 refused; 130 interrupted.
"""


def main(argv: list[str] | None = None) -> int:
    """Entry point of the command. Returns the exit code; prints no traceback unless asked."""
    words = list(sys.argv[1:] if argv is None else argv)
    with_traceback = "--traceback" in words
    words = [word for word in words if word != "--traceback"]
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `tpb ... | head` is not an error
        return EXIT_DONE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except TpbError as error:
        if with_traceback:
            _print_traceback()
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_code
    except Exception as error:
        if with_traceback:
            _print_traceback()
        if isinstance(error, ModuleNotFoundError) and error.name in CORE_LIBRARIES:
            print(f"This environment runs engines only: {error.name}, which tpb itself needs, is not in it.", file=sys.stderr)
            print(f"Run tpb where it was installed, with:  engine.python={sys.executable}", file=sys.stderr)
            return EXIT_REFUSED
        print(f"tpb failed: {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a fault of tpb. Run again with --traceback to see where, and report it.", file=sys.stderr)
        return EXIT_FAILED


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()


def _dispatch(words: list[str]) -> int:
    first = words[0] if words else ""
    if first in COMMANDS:
        module = importlib.import_module(f"tpb_core.cli.{first}")
        code: int = module.main(words[1:])
        return code
    if words in (["--help"], ["-h"], ["help"]):
        print(HELP.format(commands="\n".join(f"  {name:<12}{line}" for name, line in COMMANDS.items())), end="")
        return EXIT_DONE
    if "--version" in words:
        from tpb_core import __version__

        print(f"tpb {__version__}")
        return EXIT_DONE
    if first and first[0] not in "+~-" and "=" not in first:
        import difflib

        near = difflib.get_close_matches(first, COMMANDS, n=2)
        raise BadInput(
            f"{first!r} is neither a command nor of the form name=value.",
            f"Did you mean tpb {' or '.join(near)}?" if near else f"Commands: {', '.join(COMMANDS)}. Options: load.batch_size=8",
        )
    from tpb_core.cli import run

    return run.main(words)


if __name__ == "__main__":
    sys.exit(main())
