"""Steps against requests: what the step log says each request was computed must be what the request says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tpb_core.api.errors import BadBundle
from tpb_core.store.columns import integers, valid
from tpb_core.store.requests import Requests, ended_well
from tpb_core.store.steps import LONE_INSTANCE, StepLog

_CHUNK = 1 << 18
"""Members looked at together: bounds what a long log needs beside itself."""

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass
class _Totals:
    """Over all steps, for each row of the requests."""

    emitted: Ints
    prefill: Ints
    recomputed: Ints
    """Recomputed tokens of the steps that the request took part in: the most that can have been its own."""
    recomputed_unknown: Ints


def check_membership(steps: StepLog, requests: Requests, manifest: Mapping[str, Any]) -> None:
    """Raises BadBundle where a request's tokens contradict its part in the steps. Of a run that was cut off only excess is an error.

    Emitted tokens add up to `output_tokens`, prefill tokens to input - cached + recomputed; for requests that ended well, and where
    everything that enters is known. Prefill is not decidable for several sequences a request.
    """
    if not len(steps.members.request):
        return
    whole = manifest.get("status") == "complete"
    table, totals = requests.table, _totals(steps, requests, manifest, whole)
    ended = ended_well(table)
    lossless = whole and bool(steps.members.known.all())

    output = integers(table["output_tokens"])
    known = ended & valid(table["output_tokens"])
    _refuse(requests, known & (totals.emitted > output), totals.emitted, output, "output_tokens", "emitted")
    single = ~valid(table["sequences"]) | (integers(table["sequences"]) <= 1)
    decidable = ended & single & valid(table["input_tokens"]) & valid(table["cached_tokens"])
    fresh = integers(table["input_tokens"]) - integers(table["cached_tokens"])
    # Without a preemption nothing is computed twice; with one, the steps say how much at most was.
    preempted = ~valid(table["preemptions"]) | (integers(table["preemptions"]) > 0)
    most = np.where(preempted, fresh + totals.recomputed, fresh)
    bounded = decidable & (~preempted | (totals.recomputed_unknown == 0))
    _refuse(requests, bounded & (totals.prefill > most), totals.prefill, most, "input_tokens", "prefill")
    if lossless:
        _refuse(requests, known & (totals.emitted < output), totals.emitted, output, "output_tokens", "emitted")
        _refuse(requests, decidable & (totals.prefill < fresh), totals.prefill, fresh, "input_tokens", "prefill")


def _totals(steps: StepLog, requests: Requests, manifest: Mapping[str, Any], whole: bool) -> _Totals:
    members, count = steps.members, len(requests.table)
    totals = _Totals(*(np.zeros(count, np.int64) for _ in range(4)))
    ordinals = integers(requests.table["request"])
    counts_once = _first_stage(steps, manifest)
    recomputed = integers(steps.table["recomputed_tokens"])
    recomputed_known = valid(steps.table["recomputed_tokens"])
    for low in range(0, len(members.request), _CHUNK):
        high = min(low + _CHUNK, len(members.request))
        step = np.searchsorted(members.offsets, np.arange(low, high), side="right") - 1
        place, found = _places(members.request[low:high], ordinals)
        if whole and not found.all():
            first = int(np.argmax(~found))
            what = f"request {members.request[low + first]} is not in requests.parquet"
            raise BadBundle(what, file="steps.parquet", column="members", row=int(steps.rows_in_file[step[first]]))
        once = found & counts_once[step]
        totals.emitted += _sum(place[found], members.emitted_tokens[low:high][found], count)
        totals.prefill += _sum(place[once], members.prefill_tokens[low:high][once], count)
        totals.recomputed += _sum(place[once], recomputed[step[once]], count)
        totals.recomputed_unknown += np.bincount(place[found & ~recomputed_known[step]], minlength=count)
    return totals


def _places(wanted: npt.NDArray[Any], ordinals: Ints) -> tuple[Ints, Flags]:
    """The row of each member's request, and whether there is one (a run that was cut off may not have got to write it)."""
    if not len(ordinals):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    place = np.minimum(np.searchsorted(ordinals, wanted), len(ordinals) - 1)
    return place, ordinals[place] == wanted


def _sum(place: Ints, tokens: npt.NDArray[Any], count: int) -> Ints:
    # Weights are summed as doubles, exact for integers below 2^53.
    return np.bincount(place, weights=tokens, minlength=count).astype(np.int64)


def _first_stage(steps: StepLog, manifest: Mapping[str, Any]) -> Flags:
    """Steps whose prefill counts once: pipeline stages after the first compute the same tokens again, draft models other ones."""
    described = (manifest.get("engine") or {}).get("instances") or []
    others = [str(each.get("instance")) for each in described if each.get("pp_stage") not in (None, 0) or each.get("role") == "draft"]
    names = pc.fill_null(steps.table["instance"], LONE_INSTANCE)
    first: Flags = ~pc.is_in(names, value_set=pa.array(others, pa.string())).to_numpy()
    return first


def _refuse(requests: Requests, wrong: Flags, have: Ints, want: Ints, column: str, what: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        ordinal = requests.table["request"][row].as_py()
        message = f"the members of the steps add up to {have[row]} {what} tokens for request {ordinal} where {want[row]} belong"
        raise BadBundle(message, file="requests.parquet", column=column, row=int(requests.rows_in_file[row]))
