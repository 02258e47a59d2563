"""A Redfish service as a program: a server with two feeds, to try the meter by hand or to keep the double out of a test's process.

    python -m tpb_core.testing.bmc_double.redfish_program DIR

prints its address and the file with its certificate, then takes lines from standard input: `watts NAME NUMBER` (NAME: node, a, b),
`break PATH STATUS`, `mend`. It ends with its input.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tpb_core.testing.bmc_double import redfish_tree as tree
from tpb_core.testing.bmc_double.redfish import PASSWORD, USER, RedfishService

WATTS = {"node": 1290.0, "a": 700.0, "b": 615.0}


class RedfishProgram:
    """`with RedfishProgram(folder) as bmc: bmc.url, bmc.certificate; bmc.tell("watts node 2000")`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = self.certificate = ""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tpb_core.testing.bmc_double.redfish_program", str(self._folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ})
        assert self._process.stdout is not None
        self.url, self.certificate = self._process.stdout.readline().split()
        return self

    def tell(self, line: str) -> None:
        """Give it a line and wait until it was taken."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._process.stdout.readline()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate(timeout=10)


def main(folder: Path) -> None:
    """Serve until standard input ends."""
    watts, began_s = dict(WATTS), time.monotonic()
    with RedfishService(folder) as service:
        metrics: dict[str, tree.Live] = {
            "PowerWatts": lambda: watts["node"],
            "EnergyJoules": lambda: 1e6 + watts["node"] * (time.monotonic() - began_s),
        }
        path = tree.chassis(service.tree, "1", metrics=metrics)
        tree.supply(service.tree, path, "PSU1", {"InputPowerWatts": lambda: watts["a"]})
        tree.supply(service.tree, path, "PSU2", {"InputPowerWatts": lambda: watts["b"], "OutputPowerWatts": 570.0})
        print(service.url, service.certificate, flush=True)
        if sys.stdin.isatty():
            print(f"user {USER}, password {PASSWORD}; watts NAME NUMBER | break PATH STATUS | mend", flush=True)
        for line in sys.stdin:
            match line.split():
                case ["watts", name, number] if name in watts:
                    watts[name] = float(number)
                case ["break", broken, status]:
                    service.broken[broken] = int(status)
                case ["mend"]:
                    service.broken.clear()
                case _:
                    print("not understood", flush=True)
                    continue
            print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
