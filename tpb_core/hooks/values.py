"""What hooks give back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReportColumn:
    """A figure that a listener adds to the printed table of a run. Shown as given: the listener rounds and names the unit."""

    title: str
    value: str
    note: str = ""
    beside: str = ""
    """Title of a row of the table (`J per output token`, `energy`, `energy, prefill`): shown there, in a column headed `title`."""


@dataclass(frozen=True)
class DoctorCheck:
    """One line of `tpb doctor`: what was looked at, whether it works, and what to type where it does not."""

    name: str
    works: bool
    detail: str
    fix: str = ""
