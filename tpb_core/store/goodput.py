"""Good requests of a window: those that ended well and kept to every latency target, among all that ended, or should have, in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tpb_core.api.attributor import Window
from tpb_core.store.judgement import judge
from tpb_core.store.stretch import NEVER, RequestTimes
from tpb_core.store.targets import Answered, Target


def goodput_columns(times: RequestTimes, window: Window, targets: Sequence[Target]) -> dict[str, Any]:
    """Columns of the table `performance`: `slo`, `judged_requests`, `good_requests`, `slo_met`, `good_requests_reason`.

    All are None without targets. A window takes the requests that ended after its beginning and up to its end, and those that were due
    in it and never ended. `slo_met`: of each target, whether its percentile of the judged requests kept to it.
    """
    columns: dict[str, Any] = dict.fromkeys(("slo", "judged_requests", "good_requests", "slo_met", "good_requests_reason"))
    if not targets:
        return columns
    columns["slo"] = ",".join(target.text for target in targets)
    judgement = judge((_answered(times, row) for row in _judged(times, window)), targets)
    columns["judged_requests"], columns["good_requests_reason"] = judgement.judged, judgement.reason
    if judgement.reason is None:
        columns["good_requests"], columns["slo_met"] = judgement.good, judgement.meets(targets)
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
