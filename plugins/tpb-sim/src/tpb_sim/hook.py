"""Hook listener `sim`: writes the truth of a simulated run into its bundle, frees its world, and shows the truth beside the report."""

from __future__ import annotations

import json
from pathlib import Path

from tpb_core.hooks import ReportColumn, hookimpl

TRUTH, REQUEST_TRUTH = "x_truth.parquet", "x_truth_requests.parquet"


class TruthWriter:
    """Does nothing for runs that were not simulated in this process."""

    @hookimpl
    def bundle_complete(self, bundle: Path) -> None:
        """Write x_truth.parquet and x_truth_requests.parquet, then free the world."""
        run_id = _run_id(bundle)
        from tpb_sim.world import find_world, free_world

        world = find_world(run_id)
        if world is None:
            return
        try:
            if world.recorder is not None:
                from tpb_sim.truth_files import write_truth

                write_truth(world, bundle)
        finally:
            free_world(run_id)

    @hookimpl
    def run_finished(self, bundle: Path) -> None:
        """Free the world of a run that did not come as far as `bundle_complete`."""
        from tpb_sim.world import free_world

        free_world(_run_id(bundle))

    @hookimpl
    def report_columns(self, bundle: Path) -> list[ReportColumn]:
        """True energies of the measured window, where the bundle holds them."""
        if not (bundle / TRUTH).exists():
            return []
        from tpb_sim.truth_files import true_figures

        return [ReportColumn("truth", value, "known because the run was simulated", beside=title) for title, value in true_figures(bundle)]


def _run_id(bundle: Path) -> str:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    return str(manifest["run_id"])


truth_writer = TruthWriter()
