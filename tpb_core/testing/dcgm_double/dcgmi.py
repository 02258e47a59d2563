"""A stand-in for the program `dcgmi`: `discovery -l`, and `dmon` with its headers every 14 cycles, `N/A`, and the trailer on Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path
from types import FrameType

from tpb_core.testing.dcgm_double.machine import WHOLE, DcgmMachine

SHORT = {
    155: ("POWER", "W"),
    156: ("TOTEC", "mJ"),
    157: ("POWINST", "W"),
    150: ("TMPTR", "C"),
    100: ("SMCLK", "MHz"),
    101: ("MMCLK", "MHz"),
}
HEADER_EVERY = 14
RULE = "+--------+----------------------------------------------------------------------+"


def main(machine_file: str, arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="dcgmi")
    commands = parser.add_subparsers(dest="command", required=True)
    discovery = commands.add_parser("discovery")
    discovery.add_argument("-l", action="store_true")
    dmon = commands.add_parser("dmon")
    dmon.add_argument("-e", dest="fields", required=True)
    dmon.add_argument("-d", dest="delay_ms", type=int, default=1000)
    dmon.add_argument("-c", dest="count", type=int, default=0)
    dmon.add_argument("-i", dest="entities", default="")
    for command in (discovery, dmon):
        command.add_argument("--host", default="localhost")
    options = parser.parse_args(arguments)
    path = Path(machine_file)
    if not path.exists():
        print("Error: unable to establish a connection to the specified host: localhost")
        return 255
    machine = DcgmMachine.load(path)
    return _discovery(machine) if options.command == "discovery" else _dmon(machine, options)


def _discovery(machine: DcgmMachine) -> int:
    for kind, count in (("GPU", len(machine.gpus)), ("CPU", len(machine.cpus))):
        print(f"{count} {kind}{'' if count == 1 else 's'} found.\n{RULE}\n| {kind} ID | Device Information{' ' * 51}|\n{RULE}")
        for number in range(count):
            lines = [
                f"Name: {machine.gpus[number].name}",
                f"PCI Bus ID: 00000000:{7 + number:02X}:00.0",
                f"Device UUID: {machine.gpus[number].uuid}",
            ]
            for place, text in enumerate(lines if kind == "GPU" else ["Name: Grace TH500", "Cores: 72"]):
                print(f"| {number if place == 0 else '':<7}| {text:<69}|")
        print(RULE)
    print("0 NvSwitches found.\n+-----------+\n| Switch ID |\n+-----------+\n+-----------+")
    return 0


def _dmon(machine: DcgmMachine, options: argparse.Namespace) -> int:
    fields = [int(number) for number in options.fields.split(",")]
    wanted = _entities(machine, options.entities)
    stopped = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGINT, stop)
    started_s, cycle = time.monotonic(), 0
    _header(fields)
    while not stopped:
        cycle += 1
        for kind, number in wanted:
            t_ns = time.monotonic_ns()
            cells = [_cell(machine.value(kind, number, wanted_field, t_ns, cycle), wanted_field) for wanted_field in fields]
            print(f"{f'{kind} {number}':<10}" + "".join(f"{cell:<18}" for cell in cells), flush=True)
        if cycle == options.count:
            return 0
        if machine.ends_after_s is not None and time.monotonic() - started_s > machine.ends_after_s:
            print("Error getting values information. Return -21: The connection to the host engine is not valid any longer", flush=True)
            return 235
        time.sleep(options.delay_ms / 1000)
        if cycle % HEADER_EVERY == 0:
            _header(fields)
    print("\n\ndmon was stopped do to receiving a signal", flush=True)
    return 0


def _entities(machine: DcgmMachine, text: str) -> list[tuple[str, int]]:
    if not text:
        return [entity for entity in machine.entities() if entity[0] == "GPU"]
    parts = [part.rpartition(":") for part in text.split(",")]
    return [("CPU" if kind == "cpu" else "GPU", int(number)) for kind, _, number in parts]


def _header(fields: list[int]) -> None:
    names = [SHORT.get(number, (f"F{number}", "")) for number in fields]
    print(f"{'#Entity':<10}" + "".join(f"{name:<18}" for name, _ in names))
    print(f"{'ID':<10}" + "".join(f"{unit:<18}" for _, unit in names), flush=True)


def _cell(value: float | int | None, number: int) -> str:
    if value is None:
        return "N/A"
    return str(int(value)) if number in WHOLE else f"{value:.3f}"
