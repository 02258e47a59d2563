"""The section of requests: how energy and latency were distributed over them, and the requests themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tpb_core.report.page import chart
from tpb_core.report.page.axis import axis_of
from tpb_core.report.page.markup import Element, tag
from tpb_core.report.page.run_page import RunPage
from tpb_core.report.page.tables import figure, folded, note, section, table
from tpb_core.report.rounding import significant
from tpb_core.report.run_facts import Row

_HEIGHT, _WIDTH = 210.0, 480.0
_MOST_LISTED, _LONGEST_TEXT = 50, 400


def requests_section(page: RunPage) -> Element:
    """Histograms, quantiles, and the first requests with what they said where the run kept it."""
    facts = page.facts
    if not facts.requests:
        return section("requests", "Requests", tag("p", "No request of ours: no_requests."))
    energies, method = _energies(page)
    numbers = {row["request"] for row in facts.requests}
    columns: list[tuple[str, str, list[float]]] = []
    if method is not None:
        for column, title in (("total_j", "energy of a request"), ("prefill_j", "prefill"), ("decode_j", "decode")):
            columns.append((title, "J", [row[column] for n, row in energies.items() if n in numbers and row[column] is not None]))
    columns += [
        ("time to first token", "ms", _known(facts.requests, lambda r: _between(r, "first_token_ns", 1e6))),
        ("time per output token", "ms", _known(facts.requests, _per_token)),
        ("end-to-end latency", "s", _known(facts.requests, lambda r: _between(r, "finished_ns", 1e9))),
    ]
    columns = [(title, unit, values) for title, unit, values in columns if values]
    pictures = [figure(_histogram(title, unit, values), f"{title}, {unit}: {len(values)} requests") for title, unit, values in columns]
    reason = None if method is not None else note(f"Energy of single requests is not known: {_why(page)}.")
    said = (
        f"Energies by {method}: each request has its part of the steps that it took part in, and idle time by residence."
        if method
        else None
    )
    nobody = energies.get(-1)
    left = None if nobody is None else note(f"While nobody was resident: {significant(nobody['total_j'] or 0.0, 3)} J (request -1).")
    return section(
        "requests",
        "Requests",
        reason,
        note(said) if said else None,
        tag("div", pictures, class_="pair"),
        table(
            ("", "unit", "requests", "mean", "5 %", "median", "95 %", "largest"),
            [_quantiles(*each) for each in columns],
            numbers=range(2, 8),
        ),
        left,
        folded(f"The first {min(len(facts.requests), _MOST_LISTED)} of {len(facts.requests)} requests", _listed(page, energies)),
    )


def _energies(page: RunPage) -> tuple[dict[int, Row], str | None]:
    """Rows by request, and their method; None where no request has an energy."""
    known = any(row["total_j"] is not None for row in page.request_energy)
    rows = {row["request"]: row for row in page.request_energy}
    return (rows, page.request_energy[0]["method"]) if known else ({}, None)


def _why(page: RunPage) -> str:
    reasons = sorted({row["reason"] for row in page.request_energy if row["reason"]})
    phases = sorted(
        {row["reason"] for row in page.energy if row["domain"] == "total" and row["phase"] in ("prefill", "decode") and row["reason"]}
    )
    return ", ".join(reasons or phases) or "not_attributed"


def _histogram(title: str, unit: str, values: Sequence[float]) -> Element:
    array = np.asarray(values, np.float64)
    low, high = float(array.min()), float(array.max())
    if high - low <= 1e-9 * max(abs(high), 1e-300):
        low, high = low - 0.5 * (abs(low) or 1.0) * 0.1, high + 0.5 * (abs(high) or 1.0) * 0.1
    bins = int(np.clip(np.ceil(2 * len(array) ** (1 / 3)) + 4, 6, 40))
    counts, edges = np.histogram(array, bins=bins, range=(low, high))
    x = axis_of(low, high, 46.0, _WIDTH - 10, margin=0.02)
    y = axis_of(0.0, float(counts.max()), _HEIGHT - 38, 14.0, from_zero=True, margin=0.08)
    content: list[Element | None] = []
    for value, label in y.labels(4):
        content.append(tag("path", d=f"M{x.begin:g} {y.at(value):.5g}H{x.end:g}", class_="grid"))
        content.append(chart.text(x.begin - 6, y.at(value) + 4, label, anchor="end", class_="soft"))
    for value, label in x.labels(6):
        content.append(tag("path", d=f"M{x.at(value):.6g} {y.begin:g}v4", class_="frame"))
        content.append(chart.text(x.at(value), y.begin + 17, label, anchor="middle", class_="soft"))
    for count, begin, end in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            label = f"{int(count)} from {begin:.4g} to {end:.4g} {unit}"
            content.append(chart.rectangle(x.at(begin) + 0.6, x.at(end) - 0.6, y.begin, y.at(float(count)), "bar", label))
    median = x.at(float(np.median(array)))
    content.append(tag("path", d=f"M{median:.6g} {y.begin:g}V{y.end:g}", class_="limit"))
    content.append(chart.text(x.end, y.begin + 33, unit, anchor="end", class_="soft"))
    return chart.picture(_HEIGHT, *content, label=f"Distribution of {title}", width=_WIDTH)


def _quantiles(title: str, unit: str, values: Sequence[float]) -> list[str]:
    array = np.asarray(values)
    numbers = [float(array.mean()), *(float(q) for q in np.percentile(array, (5, 50, 95, 100)))]
    return [title, unit, str(len(values)), *(significant(number, 4) for number in numbers)]


def _listed(page: RunPage, energies: dict[int, Row]) -> Element:
    prompts = {row["prompt_id"]: row for row in _optional(page, "prompts")}
    texts = {row["request"]: row["text"] for row in _optional(page, "texts")}
    rows = []
    for row in page.facts.requests[:_MOST_LISTED]:
        energy = energies.get(row["request"], {})
        prompt = prompts.get(row["prompt_id"], {})
        ttft, joules = _between(row, "first_token_ns", 1e6), energy.get("total_j")
        rows.append(
            [
                str(row["request"]),
                row["status"] + (f": {row['error']}" if row.get("error") else ""),
                _count(row["input_tokens"]),
                _count(row["output_tokens"]),
                None if ttft is None else significant(ttft, 3),
                None if joules is None else significant(joules, 4),
                _excerpt(prompt.get("text") or row["prompt_id"]),
                _excerpt(texts.get(row["request"])),
            ]
        )
    header = ("request", "status", "input tokens", "output tokens", "TTFT, ms", "J", "prompt", "answer (where kept)")
    return table(header, rows, numbers=(0, 2, 3, 4, 5))


def _optional(page: RunPage, name: str) -> list[Row]:
    content = page.bundle.table(name)
    return [] if content is None else content.to_pylist()


def _excerpt(text: str | None) -> Element | None:
    if text is None:
        return None
    return tag("span", text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…", class_="said small")


def _count(value: int | None) -> str | None:
    return None if value is None else f"{value:,}"


def _known(rows: Sequence[Row], value: object) -> list[float]:
    assert callable(value)
    found = [value(row) for row in rows if row["status"] == "ok"]
    return [each for each in found if each is not None]


def _between(row: Row, stamp: str, scale: float) -> float | None:
    begin = row["due_ns"] if row["due_ns"] is not None else row["submitted_ns"]
    return None if begin is None or row[stamp] is None else (row[stamp] - begin) / scale


def _per_token(row: Row) -> float | None:
    if row["first_token_ns"] is None or row["finished_ns"] is None or (row["output_tokens"] or 0) < 2:
        return None
    return float((row["finished_ns"] - row["first_token_ns"]) / (row["output_tokens"] - 1) / 1e6)
