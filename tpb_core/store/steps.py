"""The step log of a run: what each iteration of each engine instance processed, and for whom, in order of time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tpb_core.api.attributor import StepMembers
from tpb_core.api.errors import BadBundle
from tpb_core.store.columns import integers, valid
from tpb_core.store.requests import refuse_negative, refuse_reversed
from tpb_core.store.schema import MEMBER
from tpb_core.store.tables import open_parquet, parts_of, refuse_unless_among

_FILE = "steps.parquet"
_COUNTS = (
    "step", "prefill_tokens", "decode_tokens", "emitted_tokens", "draft_tokens", "accepted_tokens", "recomputed_tokens",
    "prefill_padding_tokens", "decode_padding_tokens", "kv_tokens", "prefill_kv_tokens",
)  # fmt: skip
_PIECE_ROWS = 1 << 12
LONE_INSTANCE = pa.scalar("0")
"""What a NULL stands for in the column `instance`."""
_SUMMED = ("prefill_tokens", "decode_tokens", "emitted_tokens")
_FIELDS = tuple(field.name for field in MEMBER)


class StepLog:
    """The table `steps` without its members, the members flat, both sorted by `t0_ns`. Raises BadBundle."""

    def __init__(self, table: pa.Table, members: StepMembers, manifest: Mapping[str, Any]) -> None:
        refuse_negative(table, _COUNTS, _FILE)
        refuse_unless_among(table["time_source"], ("host", "engine", "device"), _FILE, "time_source")
        refuse_reversed(table, "t0_ns", "t1_ns", _FILE)
        instances = _instances(table, manifest)
        _check_keys(integers(table["step"]), instances)
        _check_overlaps(integers(table["t0_ns"]), integers(table["t1_ns"]), instances)
        t0_ns = integers(table["t0_ns"])
        self.rows_in_file: npt.NDArray[np.int64] = np.argsort(t0_ns, kind="stable")
        """The row of the file that each row of `table` comes from, for messages."""
        in_order = bool((t0_ns[1:] >= t0_ns[:-1]).all())
        self.table = table if in_order else table.take(pa.array(self.rows_in_file))
        self.members = members if in_order else _reordered(members, self.rows_in_file)


def read_steps(bundle: Path, manifest: Mapping[str, Any]) -> StepLog | None:
    """The step log, None where the bundle has none."""
    file = open_parquet(bundle, "steps")
    if file is None:
        return None
    with file:
        room = _entries(file.metadata)
        flat = {name: np.empty(room, np.int32) for name in _FIELDS}
        tables, lengths, known = [], [], []
        used = 0
        for start, part in parts_of(bundle, "steps", file, _PIECE_ROWS):
            members = part["members"]
            lengths.append(integers(pc.list_value_length(members)))
            known.append(valid(members))
            fields = _fields(members, lengths[-1], start)
            _check_member_sums(part, lengths[-1], fields, start)
            more = len(fields["request"])
            for name in _FIELDS:
                flat[name][used : used + more] = fields[name]
            used += more
            tables.append(part.drop_columns(["members"]))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
    found = StepMembers(offsets=offsets, known=np.concatenate(known), **{name: values[:used] for name, values in flat.items()})
    return StepLog(pa.concat_tables(tables), found, manifest)


def _entries(metadata: pq.FileMetaData) -> int:
    """At least as many entries as there are members: Parquet counts an empty or absent list as one."""
    most = 0
    for group in range(metadata.num_row_groups):
        columns = [metadata.row_group(group).column(number) for number in range(metadata.num_columns)]
        most += max((column.num_values for column in columns if column.path_in_schema.startswith("members.")), default=0)
    return most


def _fields(column: pa.ChunkedArray, lengths: npt.NDArray[np.int64], start: int) -> dict[str, npt.NDArray[np.int32]]:
    """The five fields of the members of a piece, flat."""
    flat = pc.list_flatten(column)
    chunk = pa.concat_arrays(flat.chunks) if flat.num_chunks else pa.array([], MEMBER)
    fields: dict[str, npt.NDArray[np.int32]] = {}
    for name in _FIELDS:
        values = pc.struct_field(chunk, name)
        bad = ~valid(values) if values.null_count else values.to_numpy() < 0
        if bad.any():
            row = int(np.searchsorted(np.cumsum(lengths), int(np.argmax(bad)), side="right"))
            what = f"{name} of a member is {'NULL' if values.null_count else 'negative'}"
            raise BadBundle(what, file=_FILE, column="members", row=start + row)
        fields[name] = values.to_numpy()
    return fields


def _instances(table: pa.Table, manifest: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """The number of the engine instance of each row; a NULL is the instance `0`."""
    names = pc.fill_null(table["instance"], LONE_INSTANCE)
    described = (manifest.get("engine") or {}).get("instances") or []
    listed = [str(each.get("instance")) for each in described if isinstance(each, dict)]
    if listed:
        refuse_unless_among(names, listed, _FILE, "instance")
    codes = names.combine_chunks().dictionary_encode()
    codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    return integers(codes.indices)


def _check_keys(steps: npt.NDArray[np.int64], instances: npt.NDArray[np.int64]) -> None:
    order = np.lexsort((steps, instances))
    same = (steps[order][1:] == steps[order][:-1]) & (instances[order][1:] == instances[order][:-1])
    if same.any():
        row = int(max(order[:-1][np.argmax(same)], order[1:][np.argmax(same)]))
        raise BadBundle(f"step {steps[row]} of one instance is there twice", file=_FILE, column="step", row=row)


def _check_overlaps(t0_ns: npt.NDArray[np.int64], t1_ns: npt.NDArray[np.int64], instances: npt.NDArray[np.int64]) -> None:
    order = np.lexsort((t1_ns, t0_ns, instances))
    begins, ends, whose = t0_ns[order], t1_ns[order], instances[order]
    overlaps = (begins[1:] < ends[:-1]) & (whose[1:] == whose[:-1])
    if overlaps.any():
        row, other = int(order[1:][np.argmax(overlaps)]), int(order[:-1][np.argmax(overlaps)])
        raise BadBundle(f"begins before the step in row {other} of the same instance ends", file=_FILE, column="t0_ns", row=row)


def _check_member_sums(part: pa.Table, lengths: npt.NDArray[np.int64], fields: dict[str, npt.NDArray[np.int32]], start: int) -> None:
    """The members of a step add up to its columns, where both are known."""
    ends = np.cumsum(lengths)
    for name in _SUMMED:
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(fields[name], dtype=np.int64)])
        of_members = sums[ends] - sums[ends - lengths]
        wrong = valid(part["members"]) & valid(part[name]) & (of_members != integers(part[name]))
        if wrong.any():
            row = int(np.argmax(wrong))
            what = f"the members' {name} add up to {of_members[row]}, the column says {part[name][row].as_py()}"
            raise BadBundle(what, file=_FILE, column="members", row=start + row)


def _reordered(members: StepMembers, order: npt.NDArray[np.int64]) -> StepMembers:
    lengths = np.diff(members.offsets)[order]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    picked = np.repeat(members.offsets[:-1][order] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return StepMembers(offsets=offsets, known=members.known[order], **{name: getattr(members, name)[picked] for name in _FIELDS})
