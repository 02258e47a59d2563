"""The readings of a run: checked piece by piece, handed out channel by channel in time order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tpb_core.api.attributor import Series
from tpb_core.api.errors import BadBundle
from tpb_core.store.columns import integers
from tpb_core.store.tables import first, open_parquet, parts_of, refuse_unless_among

_FILE = "samples.parquet"
_COLUMNS = ("channel", "t_ns", "half_width_ns", "source_ns", "source_clock", "value")
_CLOCKS = ("realtime", "monotonic", "device")
_PIECE_ROWS = 1 << 18
_KEPT_ROWS = 20_000_000
"""Up to here (half a gigabyte) the readings of all channels are kept; beyond, each channel is read from the file when it is asked for."""


class Samples:
    """The samples of one bundle. Raises BadBundle when built over a file that breaks the format."""

    def __init__(self, bundle: Path, channels: Sequence[str]) -> None:
        self._bundle = bundle
        self._channels = list(channels)
        self._kept: dict[str, Series] | None = None
        file = open_parquet(bundle, "samples")
        if file is None:
            raise BadBundle("the file is missing", file=_FILE)
        with file:
            self.rows = file.metadata.num_rows
            keeps = self.rows <= _KEPT_ROWS
            gathered: dict[str, list[Series]] = {name: [] for name in self._channels}
            for codes, part in self._parts(file):
                if keeps:
                    self._gather(codes, part, gathered)
        if keeps:
            self._kept = {name: _joined(gathered.pop(name)) for name in self._channels}

    def series(self, channel: str) -> Series:
        """Readings of a channel in time order. Raises KeyError for a channel that the manifest does not have."""
        if channel not in self._channels:
            raise KeyError(channel)
        if self._kept is not None:
            return self._kept[channel]
        file = open_parquet(self._bundle, "samples")
        assert file is not None
        with file:
            number = self._channels.index(channel)
            return _joined([_picked(part, np.flatnonzero(codes == number)) for codes, part in self._parts(file)])

    def _parts(self, file: pq.ParquetFile) -> Iterator[tuple[npt.NDArray[np.int64], pa.Table]]:
        """Piece by piece: the number of the channel of each row, and the rows."""
        known = pa.array(self._channels, pa.string())
        names = [name for name in _COLUMNS if name in file.schema_arrow.names]
        for start, part in parts_of(self._bundle, "samples", file, _PIECE_ROWS, names):
            codes = pc.index_in(part["channel"], known)
            if codes.null_count:
                row = first(pc.is_null(codes))
                what = f"the channel {part['channel'][row].as_py()!r} is not in the manifest"
                raise BadBundle(what, file=_FILE, column="channel", row=start + row)
            _check(part, start)
            yield integers(codes), part

    def _gather(self, codes: npt.NDArray[np.int64], part: pa.Table, into: dict[str, list[Series]]) -> None:
        order = np.argsort(codes, kind="stable")
        edges = np.searchsorted(codes[order], np.arange(len(self._channels) + 1))
        for number, name in enumerate(self._channels):
            low, high = edges[number], edges[number + 1]
            if high > low:
                into[name].append(_picked(part, order[low:high]))


def _check(part: pa.Table, start: int) -> None:
    refuse_unless_among(part["source_clock"], _CLOCKS, _FILE, "source_clock", own_allowed=True, first_row=start)
    negative = integers(part["half_width_ns"]) < 0
    if negative.any():
        raise BadBundle("is negative", file=_FILE, column="half_width_ns", row=start + int(np.argmax(negative)))


def _picked(part: pa.Table, rows: npt.NDArray[np.int64]) -> Series:
    value: npt.NDArray[np.float64] = part["value"].to_numpy()
    return Series(t_ns=integers(part["t_ns"])[rows], half_width_ns=integers(part["half_width_ns"])[rows], value=value[rows])


def _joined(parts: Sequence[Series]) -> Series:
    """One series of several, sorted by time; equal stamps keep the order of the file."""
    if not parts:
        return Series(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
    t_ns = np.concatenate([part.t_ns for part in parts])
    half_width_ns = np.concatenate([part.half_width_ns for part in parts])
    value = np.concatenate([part.value for part in parts])
    if (np.diff(t_ns) < 0).any():
        order = np.argsort(t_ns, kind="stable")
        t_ns, half_width_ns, value = t_ns[order], half_width_ns[order], value[order]
    return Series(t_ns, half_width_ns, value)
