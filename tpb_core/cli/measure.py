"""`tpb measure [OPTION=VALUE ...] -- COMMAND ...`: every meter around any program, with the same bundle, table and database."""

from __future__ import annotations

import sys

from tpb_core.api.errors import EXIT_DONE, EXIT_FAILED, BadInput

USAGE = """\
Usage: tpb measure [OPTION=VALUE ...] [--every SECONDS] -- COMMAND [ARGUMENT ...]

Runs the program with the terminal for itself and measures the energy of the machine meanwhile.
  tpb measure -- make -j8
  tpb measure '+meter=[rapl,nvml]' run.idle_bare_s=30 -- python train.py      net of 30 s of idle power measured before
  tpb measure --every 60 -- ./server                                          a window for each minute as well
"""


def main(argv: list[str]) -> int:
    """Measure a program. Returns 0, 1 where it or the measurement failed, 130 after Ctrl-C."""
    if "--" not in argv or argv[:1] in (["--help"], ["-h"]):
        if argv[:1] in (["--help"], ["-h"]):
            print(USAGE, end="")
            return EXIT_DONE
        raise BadInput("tpb measure needs -- and a program after it", "Type:  tpb measure -- COMMAND [ARGUMENT ...]")
    words, command = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    if not command:
        raise BadInput("there is no program after --", "Type:  tpb measure -- COMMAND [ARGUMENT ...]")
    words, slice_s = take_seconds(words, "--every")
    from tpb_core.cli.observed import observe_and_print
    from tpb_core.run.program import Program

    program = Program(command)
    code = observe_and_print(words, program, slice_s)
    if program.exit_code:
        how = f"exit code {program.exit_code}" if program.exit_code > 0 else f"signal {-program.exit_code}"
        print(f"The program ended with {how}; its energy was measured all the same.", file=sys.stderr)
        return code or EXIT_FAILED
    return code


def take_seconds(words: list[str], flag: str) -> tuple[list[str], float | None]:
    """Words without `flag VALUE`, and the value in seconds: a number, or one with s, m or h. Raises BadInput."""
    if flag not in words:
        return words, None
    position = words.index(flag)
    text = words[position + 1] if position + 1 < len(words) else ""
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 1.0)
    try:
        seconds = float(text.rstrip("smh")) * factor
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise BadInput(f"{flag} {text}: not a length of time", f"Type for example {flag} 60, {flag} 90s, {flag} 10m")
    return words[:position] + words[position + 2 :], seconds
