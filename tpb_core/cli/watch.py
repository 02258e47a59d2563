"""`tpb watch`: every channel live in the terminal; a line a period where the output is no terminal. Stores nothing."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tpb_core.api.errors import EXIT_DONE
from tpb_core.cli.switched import plain_words, seconds_of
from tpb_core.cli.words import Words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tpb_core.run.live_meters import LiveMeters, Shown

USAGE = """\
Usage: tpb watch [+meter=NAME] [OPTION=VALUE ...] [--every 0.5s] [--once]

Shows what every meter of this machine reads: power, the rate of counters, gauges, and why a meter does not work. Nothing is stored.
q or Ctrl-C ends it; the exit code is 0 either way.

  --every TIME   time between two pictures (default 0.5s)
  --once         print one table and end
Where the output is no terminal, a line is printed each time:  12:00:01.5  n0/gpu0/power=231.4W  ...
"""
_FIRST_S = 1.2
"""Counters need about a second to show a rate."""


def main(argv: list[str]) -> int:
    """The command. Exit code 0 also after Ctrl-C, which is how it is meant to end."""
    words = Words("watch", argv, values={"--every": "0.5s"}, switches=("--once",))
    if words.help:
        print(USAGE, end="")
        return EXIT_DONE
    options, every_s = plain_words(words.plain, "watch"), seconds_of("--every", words.value("--every"))
    from tpb_core.config.compose import compose
    from tpb_core.run.clock import RealClock
    from tpb_core.run.environment import machine_id
    from tpb_core.run.live_meters import LiveMeters

    context = {"run_id": "watch", "node": "n0", "machine_id": machine_id(), "environ": dict(os.environ)}
    meters = LiveMeters(compose(options).meters, RealClock(), context)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(meters, every_s, once=words.on("--once"))
    finally:
        meters.close()
    return EXIT_DONE


def _watch(meters: LiveMeters, every_s: float, *, once: bool) -> None:
    from rich.console import Console

    if once:
        _read_for(meters, _FIRST_S, -1)
        Console(width=None if sys.stdout.isatty() else 140).print(_picture(meters))
    elif sys.stdout.isatty():
        _live(meters, every_s)
    else:
        for name, what, fix in meters.unavailable:
            print(f"{name} does not work here: {what}  {fix}".rstrip(), flush=True)
        while meters.channels:
            _read_for(meters, every_s, -1)
            print(_line(meters), flush=True)


def _live(meters: LiveMeters, every_s: float) -> None:
    from rich.live import Live

    with _single_keys() as keys, Live(_picture(meters), auto_refresh=False, transient=False) as live:
        while not _read_for(meters, every_s, keys):
            live.update(_picture(meters), refresh=True)


def _read_for(meters: LiveMeters, seconds: float, keys: int) -> bool:
    """Read what is due for so long; True as soon as q is pressed on descriptor `keys` (-1: none)."""
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        meters.read_due()
        due_ns = meters.next_due_ns()
        wait_s = left_s if due_ns is None else min(left_s, max(0.0, due_ns / 1e9 - time.monotonic()))
        ready, _, _ = select.select([keys] if keys >= 0 else [], [], [], wait_s)
        if ready and os.read(keys, 1) in (b"q", b"Q", b""):
            return True
    return False


@contextmanager
def _single_keys() -> Iterator[int]:
    """Keys without Enter, where standard input is a terminal; gives its descriptor, or -1."""
    if not sys.stdin.isatty():
        yield -1
        return
    import termios
    import tty

    before: Any = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield sys.stdin.fileno()
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _picture(meters: LiveMeters) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading, side in (("channel", "left"), ("now", "right"), ("counter", "right"), ("role", "left"), ("meter", "left"), ("", "left")):
        table.add_column(heading, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for shown in meters.shown():
        channel = shown.channel
        total = f"{shown.value:,.6g} {channel.unit}" if shown.rate is not None else ""
        remark = "no reading" if shown.value is None else f"{shown.age_s:.0f} s old" if shown.stale else ""
        remark = remark or ("" if channel.allocated else "not allocated") or ("" if channel.evidence == "measured" else channel.evidence)
        table.add_row(channel.channel, _now(shown), total, channel.role or "", channel.meter or "", remark)
    lines = [Text(f"{name} does not work here: {what}  {fix}".rstrip(), style="dim") for name, what, fix in meters.unavailable]
    return Group(table, *lines, *(Text(event, style="dim") for event in meters.events))


def _line(meters: LiveMeters) -> str:
    now = time.time()
    clock = time.strftime("%H:%M:%S", time.localtime(now)) + f".{int(now * 10) % 10}"
    return "  ".join([clock, *(f"{shown.channel.channel}={_now(shown).replace(' ', '')}" for shown in meters.shown())])


def _now(shown: Shown) -> str:
    """Power of counters of energy, rates of others, values of gauges."""
    kind, unit = shown.channel.kind, shown.channel.unit
    if shown.value is None or shown.stale:
        return "—"
    if kind == "bitmask":
        return f"{int(shown.value):#x}"
    if kind in ("power", "gauge"):
        return f"{shown.value:.1f} {unit}"
    if shown.rate is None:
        return "—"
    return f"{shown.rate:.1f} W" if kind == "energy_counter" else f"{shown.rate:.2f} {unit}/s"
