"""The requests of a run: one row each, in order of their ordinal, with the stamps of their tokens where they are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tpb_core.api.errors import BadBundle
from tpb_core.api.requests import REQUEST_STATUSES, ROLES_OF_REQUESTS
from tpb_core.store.columns import integers, valid
from tpb_core.store.tables import read_table, refuse_unless_among

_FILE = "requests.parquet"
_WELL = pa.array(["ok"])
_COUNTS = ("request", "input_tokens", "cached_tokens", "output_tokens", "sequences", "preemptions")
_ORDERED = (("submitted_ns", "finished_ns"), ("first_token_ns", "finished_ns"), ("submitted_ns", "first_token_ns"))


class Requests:
    """The table `requests`, checked and sorted. Raises BadBundle when built over a file that breaks the format."""

    def __init__(self, bundle: Path) -> None:
        table = read_table(bundle, "requests")
        if table is None:
            raise BadBundle("the file is missing", file=_FILE)
        refuse_unless_among(table["status"], REQUEST_STATUSES, _FILE, "status")
        refuse_unless_among(table["role"], ROLES_OF_REQUESTS, _FILE, "role")
        refuse_negative(table, _COUNTS, _FILE)
        ordinals = integers(table["request"])
        refuse_repeated(ordinals, _FILE, "request")
        for early, late in _ORDERED:
            refuse_reversed(table, early, late, _FILE)
        both = valid(table["cached_tokens"]) & valid(table["input_tokens"])
        more = both & (integers(table["cached_tokens"]) > integers(table["input_tokens"]))
        if more.any():
            raise BadBundle("more tokens are cached than went in", file=_FILE, column="cached_tokens", row=int(np.argmax(more)))
        _check_stamps(table)
        order = np.argsort(ordinals, kind="stable")
        self.rows_in_file: npt.NDArray[np.int64] = order
        """The row of the file that each row of `table` comes from, for messages."""
        self.table = table if (order[1:] > order[:-1]).all() else table.take(pa.array(order))

    def token_stamps(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
        """`(offsets, t_ns)` over the rows of `table`; None where no request has stamps."""
        column = self.table["token_ns"]
        if column.null_count == len(column):
            return None
        return list_offsets(column), integers(pc.list_flatten(column))


def ended_well(table: pa.Table) -> npt.NDArray[np.bool_]:
    """Where the status is `ok`."""
    well: npt.NDArray[np.bool_] = pc.is_in(table["status"], _WELL).to_numpy()
    return well


def list_offsets(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Offsets into the flattened values of a list column; NULL is a length of 0."""
    lengths = integers(pc.list_value_length(column))
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def refuse_negative(table: pa.Table, names: tuple[str, ...], file: str) -> None:
    """Refuse a count below zero."""
    for name in names:
        negative = integers(table[name]) < 0
        if negative.any():
            raise BadBundle("is negative", file=file, column=name, row=int(np.argmax(negative)))


def refuse_repeated(keys: npt.NDArray[np.int64], file: str, name: str) -> None:
    """Refuse a key that is there twice; names the second row."""
    order = np.argsort(keys, kind="stable")
    repeated = keys[order][1:] == keys[order][:-1]
    if repeated.any():
        row = int(order[1:][repeated].min())
        raise BadBundle(f"the key {keys[row]} is there twice", file=file, column=name, row=row)


def refuse_reversed(table: pa.Table, early: str, late: str, file: str) -> None:
    """Refuse an end before its beginning."""
    both = valid(table[early]) & valid(table[late])
    wrong = both & (integers(table[late]) < integers(table[early]))
    if wrong.any():
        raise BadBundle(f"lies before {early}", file=file, column=late, row=int(np.argmax(wrong)))


def _check_stamps(table: pa.Table) -> None:
    """As many stamps as tokens for requests that ended well, in order, none NULL."""
    column = table["token_ns"]
    if column.null_count == len(column):
        return
    flat = pc.list_flatten(column)
    offsets = list_offsets(column)
    owner = np.repeat(np.arange(len(column)), np.diff(offsets))
    if flat.null_count:
        raise BadBundle("holds a NULL", file=_FILE, column="token_ns", row=int(owner[np.argmax(~valid(flat))]))
    stamps = integers(flat)
    backwards = (stamps[1:] < stamps[:-1]) & (owner[1:] == owner[:-1])
    if backwards.any():
        raise BadBundle("stamps run backwards", file=_FILE, column="token_ns", row=int(owner[1:][np.argmax(backwards)]))
    decidable = valid(column) & valid(table["output_tokens"]) & ended_well(table)
    counts = np.diff(offsets)
    wrong = decidable & (counts != integers(table["output_tokens"]))
    if wrong.any():
        row = int(np.argmax(wrong))
        what = f"{counts[row]} stamps for {table['output_tokens'][row].as_py()} output tokens"
        raise BadBundle(what, file=_FILE, column="token_ns", row=row)
