"""Whether the repeats of two groups are pairs: made side by side in one study, so that drift falls on both alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tpb_core.report.comparison.records import RunRecord

Pairs = list[tuple[RunRecord, RunRecord]]


def pairs_of(base: Sequence[RunRecord], other: Sequence[RunRecord]) -> Pairs | None:
    """`(base, other)` by repeat, in the order of their making; None where the runs are independent of each other.

    Pairs are repeats of one point each, of one study, in blocks (random or ABBA order): every repeat of both was finished before the next
    one began, by the places in the study's order.
    """
    studies = {record.run["study_id"] for record in (*base, *other)}
    points = [{(record.run["point"], record.run["arm"]) for record in group} for group in (base, other)]
    if len(studies) != 1 or None in studies or any(len(each) != 1 for each in points) or points[0] == points[1]:
        return None
    by_repeat = [{record.run["repeat"]: record for record in group} for group in (base, other)]
    if len(by_repeat[0]) != len(base) or len(by_repeat[1]) != len(other):
        return None
    common = sorted(repeat for repeat in by_repeat[0].keys() & by_repeat[1].keys() if repeat is not None)
    pairs = [(by_repeat[0][repeat], by_repeat[1][repeat]) for repeat in common]
    if len(pairs) < 2 or len(pairs) < max(len(base), len(other)):
        return None
    return pairs if _in_blocks(pairs) else None


def _in_blocks(pairs: Pairs) -> bool:
    spans = []
    for pair in pairs:
        places = [record.run["run_order"] for record in pair]
        if any(place is None for place in places):
            return False
        spans.append((min(places), max(places)))
    spans.sort()
    return all(before[1] < after[0] for before, after in pairwise(spans))


def in_step(base: Sequence[RunRecord], other: Sequence[RunRecord]) -> Pairs | None:
    """Pairs because the user says so: the first with the first, by their start; None where the numbers differ."""
    return list(zip(base, other, strict=True)) if len(base) == len(other) else None
