"""The level of evidence of a point in words: what its repeats reach, and what they lack for the next level."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tpb_core.report.run_facts import Row
from tpb_core.store.manifest import MANIFEST
from tpb_core.store.results import views_of


def levels_of(bundles: Sequence[Path]) -> list[Row]:
    """The rows of `evidence_levels` over these runs, a row a point and arm of each study. Raises BadBundle."""
    return views_of(bundles, ["evidence_levels"])["evidence_levels"]


def level_of_point(bundle: Path) -> Row:
    """The level of the point that a run belongs to: with the repeats that lie beside it. Raises BadBundle."""
    study = json.loads((bundle / MANIFEST).read_bytes()).get("study") or {}
    (row,) = levels_of([bundle, *_repeats_beside(bundle, study)])
    return row


def _repeats_beside(bundle: Path, study: Row) -> Iterator[Path]:
    name = str(study.get("study_id") or "")
    if not name:
        return
    for path in sorted(bundle.resolve().parent.glob(f"*/{MANIFEST}")):
        content = path.read_bytes()
        if path.parent == bundle.resolve() or name.encode() not in content:
            continue
        try:
            manifest = json.loads(content)
            theirs, status = manifest["study"], manifest["status"]
        except (ValueError, KeyError, TypeError):
            continue  # a run that is being written, or one of another program
        if all(theirs.get(key) == study.get(key) for key in ("study_id", "point", "arm")) and status == "complete":
            yield path.parent


def level_lines(levels: Sequence[Row]) -> Iterator[str]:
    """One line for each level that points reach, and what they lack for the next one; points that lack the same stand together."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in levels:
        groups.setdefault((row["level"], *(_demand(sentence) for sentence in row["lacks"] or ())), []).append(row)
    for rows in groups.values():
        yield headline(rows[0], len(rows) if len(levels) > 1 else None)
        yield from (f"  {sentence}" for sentence in rows[0]["lacks"] or ())


def headline(row: Row, points: int | None = None) -> str:
    """`Level of evidence: estimate. For device it lacks:`; with how many points it is about."""
    about = "" if points is None else f" ({points} point{'' if points == 1 else 's'})"
    lacks = f". For {row['next_level']} it lacks:" if row["next_level"] else ", the highest"
    return f"Level of evidence{about}: {row['level']}{lacks}"


def _demand(sentence: str) -> str:
    """A sentence without what one run has of it."""
    return sentence.partition(" (")[0]
