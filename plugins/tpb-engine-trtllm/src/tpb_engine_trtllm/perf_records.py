"""Records of `GET /perf_metrics` of trtllm-serve, and which of our requests each one is of.

A record carries the server's own request id, which no answer of the completions API shows. So it is found by its times: a request's
record lies between its sending and its end as we saw them, its first token before ours. Where several records fit, one is taken only
if they say the same to within a millisecond; otherwise nothing is known but what all of them say alike.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tpb_engine_trtllm.executor_clock import ExecutorClock, as_ns

_SAME_NS = 1_000_000
_NAMES = ("arrival_time", "first_scheduled_time", "first_token_time", "last_token_time")


class BadRecords(ValueError):
    """The answer is not what the API describes."""


@dataclass(frozen=True)
class PerfRecord:
    """Times of one request on the server's steady clock, in ns."""

    arrived_ns: int
    scheduled_ns: int
    first_token_ns: int
    last_token_ns: int


@dataclass(frozen=True)
class Seen:
    """A request as the client saw it, on the run clock."""

    request: int
    submitted_ns: int
    first_token_ns: int
    ended_ns: int


def read_records(data: bytes) -> list[PerfRecord]:
    """The records that are complete. Raises BadRecords where the answer is no list."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadRecords("/perf_metrics answers no JSON") from error
    if not isinstance(document, list):
        raise BadRecords("/perf_metrics answers no list")
    found = [_record(row) for row in document]
    return [record for record in found if record is not None]


def _record(row: Any) -> PerfRecord | None:
    metrics = row.get("perf_metrics") if isinstance(row, dict) else None
    timing = metrics.get("timing_metrics") if isinstance(metrics, dict) else None
    if not isinstance(timing, dict):
        return None
    stamps = [as_ns(timing.get(name)) for name in _NAMES]
    known = [stamp for stamp in stamps if stamp is not None]
    return PerfRecord(*known) if len(known) == len(_NAMES) and known == sorted(known) else None


def assign(seen: Sequence[Seen], records: Sequence[PerfRecord], clock: ExecutorClock) -> dict[int, PerfRecord]:
    """Request -> its record. A record that only one request can have is no longer anybody else's, and so on until nothing changes."""
    open_ones = {one.request: [record for record in records if _fits(one, record, clock)] for one in seen}
    found: dict[int, PerfRecord] = {}
    while (sure := next((request for request, fitting in open_ones.items() if _agree(fitting)), None)) is not None:
        record = found[sure] = open_ones.pop(sure)[0]
        for fitting in open_ones.values():
            if record in fitting:
                fitting.remove(record)
    return found


def scheduled_together(seen: Sequence[Seen], records: Sequence[PerfRecord], clock: ExecutorClock) -> dict[int, int]:
    """Request -> when it was first scheduled, on the server's clock, where it is not told which record is its own and all say this alike.

    So it is with requests that came a few milliseconds apart and were taken into one batch.
    """
    fitting = {one.request: [record for record in records if _fits(one, record, clock)] for one in seen}
    return {request: mine[0].scheduled_ns for request, mine in fitting.items() if _agree(mine, ("scheduled_ns",))}


def _fits(one: Seen, record: PerfRecord, clock: ExecutorClock) -> bool:
    room_ns = clock.uncertainty_ns
    return (
        clock.ours(record.arrived_ns) >= one.submitted_ns - room_ns
        and clock.ours(record.first_token_ns) <= one.first_token_ns + room_ns
        and clock.ours(record.last_token_ns) <= one.ended_ns + room_ns
    )


def _agree(records: Sequence[PerfRecord], names: Sequence[str] = ("arrived_ns", "scheduled_ns", "first_token_ns")) -> bool:
    """At least one, and all the same to within a millisecond."""
    for name in names:
        stamps = [getattr(record, name) for record in records]
        if not stamps or max(stamps) - min(stamps) > _SAME_NS:
            return False
    return True
