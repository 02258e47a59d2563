"""What the requests of a run did in one window: tokens that came out in it, tokens that went in, and requests that ended in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_core.api.attributor import Window
from tpb_core.api.codes import Reason
from tpb_core.store.bundle import Bundle

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
NEVER = np.iinfo(np.int64).max


@dataclass
class RequestTimes:
    """The requests as arrays in the order of their end. Times in ns of the run clock; a time that is not known is -1, an end `NEVER`."""

    begins: Ints
    """When the request was due; when it was submitted where the load shape has no due times."""
    first: Ints
    ends: Ints
    input_tokens: Ints
    output_tokens: Ints
    ok: npt.NDArray[np.bool_]
    stamped: npt.NDArray[np.bool_]
    """Whether the emission of every token is known; then it is in `stamps`, in order of time."""
    token_begins: Ints
    token_ends: Ints
    gaps: Floats
    """Per stamp: seconds since the stamp before it of the same request; NaN at its first. In the order of `token_begins`."""
    stamps: Ints
    last: Ints


def request_times(bundle: Bundle) -> RequestTimes:
    """The requests of a bundle, sorted by their end."""
    columns = bundle.columns("requests")
    assert columns is not None

    def known(name: str, missing: int = -1) -> Ints:
        column = columns[name]
        return np.where(column.valid, column.values, missing).astype(np.int64)

    count = len(columns["request"].values)
    offsets, flat = bundle.token_stamps() or (np.zeros(count + 1, np.int64), np.zeros(0, np.int64))
    lengths = np.diff(offsets)
    gaps = np.full(len(flat), np.nan)
    gaps[1:] = np.diff(flat) / 1e9
    gaps[offsets[:-1][lengths > 0]] = np.nan
    has = lengths > 0
    first, output = known("first_token_ns"), known("output_tokens")
    last = np.full(count, -1, np.int64)
    last[has] = flat[offsets[1:][has] - 1]
    first[has & (first < 0)] = flat[offsets[:-1][has & (first < 0)]]
    ok = np.array([status == "ok" for status in columns["status"].values], np.bool_)
    rejected = np.array([status == "rejected" for status in columns["status"].values], np.bool_)
    # A request of which nothing came out has no stamps; that is known where stamps are recorded at all.
    nothing = (output <= 0) & (first < 0) & ~ok & (rejected | (len(flat) > 0))
    output[nothing] = 0
    output = np.where((output < 0) & has, lengths, output)
    stamped = (has & (lengths >= output)) | (output == 0)
    submitted, due = known("submitted_ns"), known("due_ns")
    begins = np.where(due >= 0, due, submitted)
    ends = known("finished_ns", NEVER)
    order = np.argsort(ends, kind="stable")
    return RequestTimes(
        begins=begins[order],
        first=first[order],
        ends=ends[order],
        input_tokens=known("input_tokens")[order],
        output_tokens=output[order],
        ok=ok[order],
        stamped=stamped[order],
        token_begins=offsets[:-1][order],
        token_ends=offsets[1:][order],
        gaps=gaps,
        stamps=np.sort(flat),
        last=last[order],
    )


@dataclass
class Stretch:
    """Requests and tokens of one window, NULL as None beside its reason."""

    ended: Ints
    """Rows of `RequestTimes` of the requests that ended well in the window."""
    failed: int
    output_tokens: int | None
    output_reason: Reason | None
    input_tokens: int | None
    input_reason: Reason | None


def stretch_of(times: RequestTimes, window: Window) -> Stretch:
    """A window takes what happens after its beginning and up to its end, so that adjoining windows share nothing.

    Output tokens are those *emitted* in it; of requests without stamps only whole ones count, and one that straddles an edge makes
    the number NULL. Input tokens are those of the requests whose first token came out in it.
    """
    t0, t1 = window.t0_ns, window.t1_ns
    low, high = np.searchsorted(times.ends, [t0, t1], side="right")
    within = np.arange(low, high)
    output, output_reason = _output_tokens(times, t0, t1)
    inputs, input_reason = _input_tokens(times, t0, t1)
    return Stretch(
        ended=within[times.ok[low:high]],
        failed=int((~times.ok[low:high]).sum()),
        output_tokens=output,
        output_reason=output_reason,
        input_tokens=inputs,
        input_reason=input_reason,
    )


def _output_tokens(times: RequestTimes, t0: int, t1: int) -> tuple[int | None, Reason | None]:
    low, high = np.searchsorted(times.stamps, [t0, t1], side="right")
    emitted = int(high - low)
    blind = np.flatnonzero(~times.stamped)
    touches = blind[(times.begins[blind] < t1) & (times.ends[blind] > t0)]
    inside = (times.begins[touches] >= t0) & (times.ends[touches] <= t1) & (times.output_tokens[touches] >= 0)
    if not inside.all():
        return None, Reason.TOKENS_NOT_RESOLVED
    # Stamps of a request that has some but not all are counted already.
    partly = sum(int(times.token_ends[row] - times.token_begins[row]) for row in touches if times.token_ends[row] > times.token_begins[row])
    emitted += int(times.output_tokens[touches].sum()) - partly
    return emitted, None if emitted else Reason.NO_TOKENS


def _input_tokens(times: RequestTimes, t0: int, t1: int) -> tuple[int | None, Reason | None]:
    # Without a stamp of the first token a whole request is in the window or not; what never began cost no input.
    blind = (times.first < 0) & times.ok
    here = ((times.first > t0) & (times.first <= t1)) | (blind & (times.begins >= t0) & (times.ends <= t1))
    straddles = blind & (times.begins < t1) & (times.ends > t0) & ~here
    if straddles.any() or (here & (times.input_tokens < 0)).any():
        return None, Reason.TOKENS_NOT_RESOLVED
    total = int(times.input_tokens[here].sum())
    return total, None if total else Reason.NO_TOKENS
