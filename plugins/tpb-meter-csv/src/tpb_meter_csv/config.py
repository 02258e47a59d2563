"""Options of the log meter: where the log is, what its columns mean, how its clock relates to the run's."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.api import EVIDENCE, MeterConfig, Reason, Unavailable, option
from tpb_core.api.described import Column, parse_column


@dataclass
class CsvConfig(MeterConfig):
    """Options of the log meter, the same during a run and when a log is joined afterwards."""

    name: str = option("csv", help="entry-point name of the meter")
    interval_ms: float = option(1000.0, help="time between two looks at the log", unit="ms")
    path: str = option("", help="the log file")
    channels: dict[str, str] = option(
        {}, help="what its columns are, {NAME: COLUMN UNIT SCOPE[:ROLE][@DOMAIN]}, COLUMN a heading or a number from 1"
    )
    time: str = option("1", help="column of the time, a heading or a number from 1; `Date + Time` joins two")
    time_format: str = option(
        "iso", help="iso, unix_s, unix_ms, unix_us, unix_ns, elapsed_s, elapsed_ms (since the log began), or a strptime pattern"
    )
    time_zone: str = option("", help="zone of times without an offset, for example Europe/Berlin or UTC; there is no default")
    delimiter: str = option("", help="between columns; empty: found out")
    decimal: str = option(".", help="decimal separator", choices=(".", ","))
    clock: str = option(
        "realtime",
        help="how the log's clock is mapped: `realtime` (it shows true time), `anchors`, or `correlation` with a channel of the run",
        choices=("realtime", "anchors", "correlation"),
    )
    clock_ahead_s: float = option(0.0, help="how far the log's clock is ahead of true time, for clock=realtime", unit="s")
    clock_u_s: float = option(1.0, help="standard uncertainty of the log's clock, for clock=realtime and anchors", unit="s")
    anchors: list[str] = option(
        [], help="for clock=anchors: `LOG TIME = TRUE TIME`, the latter ISO with an offset, or the edge of a window such as measure.start"
    )
    reference: str = option("", help="channel of the run for clock=correlation; empty: the measured channel with the highest power")
    search_s: float = option(120.0, help="largest error of the log's clock that clock=correlation looks for", unit="s")
    averaging_ms: float | None = option(None, help="each power is the mean over this time; 0: instantaneous; none: unknown", unit="ms")
    update_ms: float | None = option(None, help="time between two new values; none: that of the rows", unit="ms")
    max_power_w: float | None = option(None, help="the most that any channel can plausibly draw", unit="W")
    point: str = option("ac", help="side of the power supply that is measured", choices=("ac", "dc", "rail"))
    evidence: str = option("measured", help="how the figures came about", choices=EVIDENCE)


def columns_of(config: CsvConfig) -> list[Column]:
    """The declared columns. Raises Unavailable (`not_configured`) without a log or columns, BadInput for what cannot be understood."""
    if not config.path or not config.channels:
        raise Unavailable(
            "the log meter needs a file and what its columns mean",
            reason=Reason.NOT_CONFIGURED,
            fix="meter.csv.path=LOG.csv 'meter.csv.channels={wall: Power W node}' meter.csv.time=Time meter.csv.time_zone=Europe/Berlin",
        )
    return [parse_column(name, text, "meter.csv.channels") for name, text in config.channels.items()]
