"""A bundle opened for reading: everything that the format promises is checked first, so that who reads on need not ask again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tpb_core.api.attributor import Column, Series, StepMembers, Window
from tpb_core.api.channel import Channel
from tpb_core.api.codes import EventCode
from tpb_core.api.errors import BadBundle
from tpb_core.store.channels import channels_of
from tpb_core.store.columns import Columns, integers, valid
from tpb_core.store.invariants import check_invariants
from tpb_core.store.manifest import MANIFEST, read_manifest
from tpb_core.store.manifest_shape import check_shape
from tpb_core.store.membership import check_membership
from tpb_core.store.outputs import check_output
from tpb_core.store.reported import read_reported
from tpb_core.store.requests import Requests, refuse_repeated, refuse_reversed
from tpb_core.store.samples import Samples
from tpb_core.store.schema import OUTPUT_TABLES
from tpb_core.store.spool import SPOOL
from tpb_core.store.steps import StepLog, read_steps
from tpb_core.store.tables import read_table, refuse_unless_among

_WINDOWS = "windows.parquet"
_EVENTS = "events.parquet"


class Bundle:
    """One finished run, read only; implements `tpb_core.api.RunView`."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self._manifest = manifest
        check_shape(manifest, MANIFEST)
        self._channels = channels_of(manifest, MANIFEST)
        self._window_table = _read_windows(path)
        self._event_table = _read_events(path)
        self._reported = read_reported(path, self._window_table["window"].to_pylist())
        self._requests = Requests(path)
        self._steps: StepLog | None = read_steps(path, manifest)
        self._samples = Samples(path, [channel.channel for channel in self._channels])
        self._columns: dict[str, Mapping[str, Column]] = {}
        if self._steps is not None:
            check_membership(self._steps, self._requests, manifest)
        outputs = {table: read_table(path, table) for table in OUTPUT_TABLES}
        for table, content in outputs.items():
            check_output(table, content)
        if outputs["energy"] is not None:
            check_invariants(outputs["energy"], outputs.pop("request_energy"))  # which can be large, and is read again when asked for
        self._outputs = outputs

    @classmethod
    def open(cls, path: Path | str) -> Bundle:
        """Open and check a bundle. Raises BadBundle with file, column and row; also for a run that is not finished."""
        path = Path(path)
        manifest = read_manifest(path)
        if manifest["status"] == "running" or (path / SPOOL).is_dir():
            raise BadBundle(
                "the run is still going on, or it was cut off and not finished",
                file=str(path / MANIFEST),
                fix=f"If it no longer runs, type: tpb ingest {path}",
            )
        return cls(path, manifest)

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return str(self._manifest["run_id"])

    @property
    def manifest(self) -> Mapping[str, Any]:
        """The manifest as it was read."""
        return self._manifest

    @property
    def channels(self) -> Sequence[Channel]:
        """The channels, absent roles filled in."""
        return self._channels

    @property
    def windows(self) -> Sequence[Window]:
        """Windows that have an end, in order of their start."""
        rows = self._window_table.to_pylist()
        ended = [Window(row["window"], row["t0_ns"], row["t1_ns"]) for row in rows if row["t1_ns"] is not None]
        return sorted(ended, key=lambda window: window.t0_ns)

    def series(self, channel: str) -> Series:
        """Readings of a channel in time order; empty arrays where it delivered none. Raises KeyError for an unknown channel."""
        return self._samples.series(channel)

    def table(self, table: str) -> pa.Table | None:
        """A table in the types of its schema, `steps` without its members; None where the bundle has no such file."""
        if table == "samples":
            raise ValueError("samples are handed out by series()")
        kept = {"windows": self._window_table, "events": self._event_table, "requests": self._requests.table, **self._outputs}
        kept["reported"] = self._reported
        if table in kept:
            return kept[table]
        if table == "steps":
            return None if self._steps is None else self._steps.table
        return read_table(self.path, table)

    def columns(self, table: str) -> Mapping[str, Column] | None:
        """All flat columns of a table, also of an optional one (`prompts`, `x_...`); None where the bundle has no such file."""
        if table not in self._columns:
            content = self.table(table)
            if content is None:
                return None
            self._columns[table] = Columns(content)
        return self._columns[table]

    def step_members(self) -> StepMembers | None:
        """Members of the steps in the row order of `columns("steps")`; None without a step log."""
        return None if self._steps is None else self._steps.members

    def token_stamps(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """`(offsets, t_ns)` of all output tokens in the row order of `columns("requests")`; None where no request has stamps."""
        return self._requests.token_stamps()


def _read_windows(path: Path) -> pa.Table:
    table = read_table(path, "windows")
    if table is None:
        raise BadBundle("the file is missing", file=_WINDOWS)
    names = table["window"].combine_chunks().dictionary_encode()
    codes = names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names
    try:
        refuse_repeated(integers(codes.indices), _WINDOWS, "window")
    except BadBundle as error:
        raise BadBundle(
            f"the window {table['window'][error.row].as_py()!r} is there twice", file=_WINDOWS, column="window", row=error.row
        ) from None
    refuse_reversed(table, "t0_ns", "t1_ns", _WINDOWS)
    return table


def _read_events(path: Path) -> pa.Table | None:
    table = read_table(path, "events")
    if table is not None:
        refuse_unless_among(table["code"], [code.value for code in EventCode], _EVENTS, "code", own_allowed=True)
        missing = ~valid(table["code"])
        if missing.any():
            raise BadBundle("an event without a code", file=_EVENTS, column="code", row=int(np.argmax(missing)))
    return table
