"""What `characterise` and `calibrate` share: make a run with a switched load, or open one that was made before."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tpb_core.api.errors import BadInput

if TYPE_CHECKING:
    from tpb_core.config.schema import Point
    from tpb_core.run.characterise.loads import Load
    from tpb_core.run.characterise.schedule import Part
    from tpb_core.store.bundle import Bundle

FASTEST_MS = 10.0
USUAL_MS = 100.0
FASTER = 5.0


def seconds_of(flag: str, text: str) -> float:
    """A length of time: a number of seconds, or one with s, m or h. Raises BadInput."""
    from tpb_core.cli.measure import take_seconds

    _, seconds = take_seconds([flag, text], flag)
    assert seconds is not None
    return seconds


def switched_bundle(words: Sequence[str], load: Load, schedule: Sequence[Part]) -> Bundle:
    """Make the run, with meters read as often as they bear unless the words say how often. Raises what went wrong."""
    from rich.console import Console

    from tpb_core.cli.progress_bar import ProgressBar
    from tpb_core.config.compose import compose
    from tpb_core.run.output_folder import check_output_folder
    from tpb_core.run.session import observe_switched
    from tpb_core.store.bundle import Bundle

    point = read_often(compose(list(words)), words)
    check_output_folder(Path(point.out.dir))
    with ProgressBar(Console(stderr=True)) as progress:
        result = observe_switched(point, load, schedule, progress=progress)
    if result.error is not None:
        raise result.error
    return Bundle.open(result.bundle)


def read_often(point: Point, words: Sequence[str]) -> Point:
    """Every 10 ms, meters that are slow by themselves five times as often, where no interval was asked for; nothing is attributed."""
    meters = {}
    for name, options in point.meters.items():
        asked = any(re.match(rf"\+*meter\.{re.escape(name)}\.interval_ms=", word) for word in words)
        usual_ms = float(options.get("interval_ms", 100.0))
        meters[name] = {
            **options,
            "interval_ms": usual_ms if asked else min(usual_ms, FASTEST_MS) if usual_ms <= USUAL_MS else usual_ms / FASTER,
        }
    return dataclasses.replace(point, meters=meters, attributors=[])


def plain_words(words: Sequence[str], command: str) -> list[str]:
    """What goes to the configuration. Raises BadInput for anything else."""
    for word in words:
        if "=" not in word:
            raise BadInput(f"{word!r} is not of the form name=value.", f"Type: tpb {command} --help")
    return list(words)


def plus_minus(value: float | None, u: float | None, unit: str, factor: float = 1.0) -> str:
    """`25.1 ± 1.6 ms`: two significant digits of the standard uncertainty."""
    from tpb_core.report.rounding import MISSING, decimals_of, significant

    if value is None:
        return MISSING
    if not u:
        return f"{significant(factor * value, 3)} {unit}"
    decimals = decimals_of(factor * u)
    shown = max(decimals, 0)
    return f"{round(factor * value, decimals) + 0.0:.{shown}f} ± {round(factor * u, decimals):.{shown}f} {unit}"
