"""Good requests of a window: those that ended well and kept to every latency target, among all that ended, or should have, in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tpb_core.api.attributor import Window
from tpb_core.api.codes import Reason
from tpb_core.store.stretch import NEVER, RequestTimes
from tpb_core.store.targets import Answered, Target, keeps


def goodput_columns(times: RequestTimes, window: Window, targets: Sequence[Target]) -> dict[str, Any]:
    """Columns of the table `performance`: `slo`, `judged_requests`, `good_requests`, `slo_met`, `good_requests_reason`.

    All are None without targets. A window takes the requests that ended after its beginning and up to its end, and those that were due
    in it and never ended. `slo_met`: of each target, whether its percentile of the judged requests kept to it.
    """
    columns: dict[str, Any] = dict.fromkeys(("slo", "judged_requests", "good_requests", "slo_met", "good_requests_reason"))
    if not targets:
        return columns
    columns["slo"] = ",".join(target.text for target in targets)
    kept = [[keeps(_answered(times, int(row)), target) for target in targets] for row in _judged(times, window)]
    columns["judged_requests"] = len(kept)
    if not kept:
        columns["good_requests_reason"] = Reason.NO_REQUESTS
    elif any(None in each for each in kept):
        columns["good_requests_reason"] = Reason.NO_TOKEN_STAMPS
    else:
        columns["good_requests"] = sum(all(each) for each in kept)
        met = [sum(bool(each[place]) for each in kept) for place in range(len(targets))]
        columns["slo_met"] = all(count * 100 >= target.percent * len(kept) for count, target in zip(met, targets, strict=True))
    return columns


def _judged(times: RequestTimes, window: Window) -> list[int]:
    t0, t1 = window.t0_ns, window.t1_ns
    ended = (times.ends > t0) & (times.ends <= t1)
    lost = (times.ends == NEVER) & (times.begins >= t0) & (times.begins < t1)
    return [int(row) for row in np.flatnonzero(ended | lost)]


def _answered(times: RequestTimes, row: int) -> Answered:
    def known(value: Any) -> int | None:
        return int(value) if 0 <= value < NEVER else None

    begin, first, end, tokens = (known(each[row]) for each in (times.begins, times.first, times.ends, times.output_tokens))
    return Answered(bool(times.ok[row]), begin, first, end, tokens)
