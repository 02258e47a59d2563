"""What must hold of every ledger: phases add up to the total, and requests to the phases. Checked before writing and after reading."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tpb_core.api.errors import BadBundle

TOLERANCE = 1e-9
"""Of the sum of magnitudes that enter: rounding in sums of doubles, not physics."""
_PARTS = ("prefill", "decode", "idle", "unattributed")
_GROUP = ("window", "domain", "method", "basis", "point", "arm")
_OF_REQUESTS = {"prefill_j": "prefill", "decode_j": "decode", "idle_j": "idle"}
Key = tuple[Any, ...]


def check_invariants(energy: pa.Table, request_energy: pa.Table | None) -> None:
    """Raises BadBundle naming the row. Both tables are in the types of the schema.

    For each (window, domain, method, basis): prefill + decode + idle + unattributed = total; total NULL means all NULL; a NULL phase
    has its energy in `unattributed`. Where a phase has request rows, they and request -1 add up to it, and all `total_j` to
    total - unattributed.
    """
    lines = _lines(energy)
    for key, phases in lines.items():
        _check_line(key, phases)
    if request_energy is not None and request_energy.num_rows:
        _check_requests(lines, request_energy)


def _lines(energy: pa.Table) -> dict[Key, dict[str, tuple[float | None, int]]]:
    """The phases of each line of the ledger: joules and row."""
    lines: dict[Key, dict[str, tuple[float | None, int]]] = {}
    columns = [energy[name].to_pylist() for name in (*_GROUP, "phase", "joules")]
    for row, (*key, phase, joules) in enumerate(zip(*columns, strict=True)):
        lines.setdefault(tuple(key), {})[phase] = (joules, row)
    return lines


def _check_line(key: Key, phases: dict[str, tuple[float | None, int]]) -> None:
    parts = [(phase, *phases[phase]) for phase in _PARTS if phase in phases]
    if "total" not in phases:
        raise _broken(key, "phases without a total", next(iter(phases.values()))[1])
    total, row = phases["total"]
    if not parts:
        return
    if total is None:
        for phase, joules, place in parts:
            if joules is not None:
                raise _broken(key, f"{phase} has joules although the total is NULL", place)
        return
    known = [joules for _, joules, _ in parts if joules is not None]
    if not _adds_up(known, total):
        raise _broken(key, f"prefill, decode, idle and unattributed add up to {sum(known)} J, the total is {total} J", row)


def _check_requests(lines: dict[Key, dict[str, tuple[float | None, int]]], rows: pa.Table) -> None:
    parts = (*_OF_REQUESTS, "total_j")
    content = rows.select(list(_GROUP))
    for name in parts:
        content = content.append_column(name, rows[name]).append_column(f"abs_{name}", pc.abs(rows[name]))
    asked: list[tuple[str, str]] = [(name, how) for name in parts for how in ("sum", "count")]
    groups = content.group_by(list(_GROUP)).aggregate([*asked, *((f"abs_{name}", "sum") for name in parts)])
    for group in groups.to_pylist():
        key = tuple(group[name] for name in _GROUP)
        if key not in lines:
            raise BadBundle(f"no row of energy.parquet belongs to the requests of {_text(key)}", file="request_energy.parquet")
        line = lines[key]
        for name in parts:
            if group[f"{name}_count"]:
                want = _wanted(line, name)
                have, magnitude = group[f"{name}_sum"], group[f"abs_{name}_sum"]
                if want is None or abs(have - want) > TOLERANCE * (magnitude + abs(want)):
                    what = f"the requests of {_text(key)} add up to {have} J where {want} J belong"
                    raise BadBundle(what, file="request_energy.parquet", column=name)


def _wanted(line: dict[str, tuple[float | None, int]], name: str) -> float | None:
    """What the request rows must add up to; None where the ledger has no such figure."""
    if name in _OF_REQUESTS:
        return line.get(_OF_REQUESTS[name], (None, 0))[0]
    total, unattributed = line["total"][0], line.get("unattributed", (0.0, 0))[0]
    return None if total is None else total - (unattributed or 0.0)


def _adds_up(parts: Iterable[float], total: float) -> bool:
    parts = list(parts)
    return abs(sum(parts) - total) <= TOLERANCE * (sum(map(abs, parts)) + abs(total))


def _text(key: Key) -> str:
    return ", ".join(str(part) for part in key if part is not None)


def _broken(key: Key, what: str, row: int) -> BadBundle:
    return BadBundle(f"{_text(key)}: {what}", file="energy.parquet", column="joules", row=row)
