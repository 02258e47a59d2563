"""Truth on disk: from the windows and requests of a finished bundle to x_truth.parquet and x_truth_requests.parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tpb_sim.hook import REQUEST_TRUTH, TRUTH
from tpb_sim.truth import PhaseTruth, Stays, Truth, truth_of
from tpb_sim.world import World


def write_truth(world: World, bundle: Path) -> Truth:
    """Write both files beside the bundle's own; returns what was written. Windows without an end are left out."""
    windows = pq.read_table(bundle / "windows.parquet", columns=["window", "t0_ns", "t1_ns"]).to_pylist()
    closed = [(row["window"], row["t0_ns"], row["t1_ns"]) for row in windows if row["t1_ns"] is not None]
    truth = truth_of(world, _stays(bundle, world), closed)
    phases = {name: [getattr(row, name) for row in truth.phases] for name in PhaseTruth._fields}
    phases["as_metered_j"] = [None if np.isnan(value) else value for value in phases["as_metered_j"]]
    _write(bundle / TRUTH, phases)
    _write(bundle / REQUEST_TRUTH, truth.requests)
    return truth


def _stays(bundle: Path, world: World) -> Stays:
    """From submission to end; a request that never ended stayed until the world did."""
    path = bundle / "requests.parquet"
    if not path.exists():
        empty = np.zeros(0, dtype=np.int64)
        return Stays(empty, empty, empty)
    end_ns = max((device.trace.end_ns for device in world.devices.values()), default=world.start_ns)
    rows = pq.read_table(path, columns=["request", "submitted_ns", "finished_ns"]).to_pylist()
    return Stays(
        np.array([row["request"] for row in rows], dtype=np.int64),
        np.array([end_ns if row["submitted_ns"] is None else row["submitted_ns"] for row in rows], dtype=np.int64),
        np.array([end_ns if row["finished_ns"] is None else row["finished_ns"] for row in rows], dtype=np.int64),
    )


def _write(path: Path, columns: dict[str, list[object]]) -> None:
    temporary = path.with_suffix(".part")
    pq.write_table(pa.table(columns), temporary)
    temporary.replace(path)


def true_figures(bundle: Path) -> list[tuple[str, str]]:
    """Row of the report and true value (J) in window `measure`, over all metered devices: in all, by phase, and per output token.

    Where steps are mixed, phases are those of the Shapley rule.
    """
    rows = pq.read_table(bundle / TRUTH).to_pylist()
    mine = [row for row in rows if (row["window"], row["domain"], row["basis"]) == ("measure", "total", "gross")]
    method = "pure" if any(row["method"] == "pure" for row in mine) else "shapley"
    joules = {row["phase"]: row["joules"] for row in mine if row["method"] == method}
    figures = [
        ("energy" if phase == "total" else f"energy, {phase}", f"{joules[phase]:.1f}")
        for phase in ("total", "prefill", "decode", "idle")
        if phase in joules
    ]
    windows = pq.read_table(bundle / "windows.parquet", columns=["window", "t0_ns", "t1_ns"]).to_pylist()
    span = next((row for row in windows if row["window"] == "measure"), None)
    if span is not None and (bundle / "steps.parquet").exists():
        steps = pq.read_table(bundle / "steps.parquet", columns=["t1_ns", "emitted_tokens"])
        ends, emitted = (np.asarray(steps[name]) for name in ("t1_ns", "emitted_tokens"))
        tokens = int(emitted[(ends > span["t0_ns"]) & (ends <= span["t1_ns"])].sum())
        if tokens and "total" in joules:
            figures.append(("J per output token", f"{joules['total'] / tokens:.4g}"))
    return figures
