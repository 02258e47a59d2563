"""A run in memory: the RunView protocol over plain arrays, for tests of attributors and for simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tpb_core.api import Channel, Column, Series, StepMembers, Window


@dataclass
class MemoryRun:
    """A run given by arrays; implements `tpb_core.api.RunView`.

    `tables` maps a table to its columns: arrays, or `(values, valid)` where some are NULL. `samples` maps a channel to its series.
    """

    run_id: str = "run"
    manifest: Mapping[str, Any] = field(default_factory=dict)
    channels: Sequence[Channel] = ()
    windows: Sequence[Window] = ()
    samples: dict[str, Series] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    members: StepMembers | None = None
    stamps: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None

    def series(self, channel: str) -> Series:
        """Readings of a channel; empty arrays where it has none."""
        nothing = np.zeros(0, np.int64)
        return self.samples.get(channel, Series(nothing, nothing, np.zeros(0)))

    def columns(self, table: str) -> Mapping[str, Column] | None:
        """The columns of a table; None where there is no such table."""
        if table not in self.tables:
            return None
        return {name: _column(values) for name, values in self.tables[table].items()}

    def step_members(self) -> StepMembers | None:
        """Members of the steps."""
        return self.members

    def token_stamps(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """Token stamps of the requests."""
        return self.stamps


def series_of(t_s: npt.NDArray[np.float64], value: npt.NDArray[np.float64], half_width_s: float = 0.0) -> Series:
    """A series from read times in seconds."""
    t_ns = np.round(t_s * 1e9).astype(np.int64)
    return Series(t_ns, np.full(len(t_ns), round(half_width_s * 1e9), np.int64), np.asarray(value, np.float64))


def members_of(rows: Sequence[Sequence[tuple[int, int, int, int, int]] | None]) -> StepMembers:
    """Members from one list a step of (request, prefill, decode, emitted, kv) tuples; None where they are not known."""
    flat = np.array([member for row in rows if row for member in row], np.int32).reshape(-1, 5)
    offsets = np.concatenate([[0], np.cumsum([len(row) if row else 0 for row in rows])]).astype(np.int64)
    known = np.array([row is not None for row in rows], np.bool_)
    return StepMembers(offsets, known, *(flat[:, k].copy() for k in range(5)))


def _column(values: Any) -> Column:
    if isinstance(values, tuple):
        return Column(np.asarray(values[0]), np.asarray(values[1], np.bool_))
    array = np.asarray(values)
    return Column(array, np.ones(len(array), np.bool_))
