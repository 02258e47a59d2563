"""CPU time of light commands above that of a bare interpreter.

    python bench/command_start.py [--runs 20]

Interleaved runs of `python -c pass`, `tpb --help` and `tpb plugins list`, each a process of its own; user and system time by the kernel's
account; prints medians and the differences from the bare interpreter, of which 100 ms is the most that we allow ourselves.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from statistics import median

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "tpb --help": [sys.executable, "-m", "tpb_core.cli.main", "--help"],
    "tpb plugins list": [sys.executable, "-m", "tpb_core.cli.main", "plugins", "list"],
}


def cpu_ms(command: list[str]) -> float:
    """CPU time of one run in ms."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, command
    process.returncode = 0
    return (used.ru_utime + used.ru_stime) * 1e3


def main() -> int:
    """Interleave, then compare medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, command in COMMANDS.items():
            times[name].append(cpu_ms(command))
    bare = median(times["python -c pass"])
    for name, values in times.items():
        print(f"{name:<18} median {median(values):6.1f} ms CPU, {median(values) - bare:+6.1f} ms over a bare interpreter")
    return 0


if __name__ == "__main__":
    sys.exit(main())
