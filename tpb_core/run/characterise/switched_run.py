"""A run in which a load is switched: meters around it, one slice of `measure` for each stretch, whose `note` says the level.

The edges stand in windows.parquet on the run clock, so that everything found can be computed from the bundle again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tpb_core.api.errors import TpbError
from tpb_core.api.units import NS_PER_S
from tpb_core.config.schema import Point
from tpb_core.energy.switched import NOTE
from tpb_core.run.characterise.loads import Load
from tpb_core.run.characterise.schedule import Part
from tpb_core.run.clock import RealClock
from tpb_core.run.interruption import Interruption
from tpb_core.run.progress import Progress
from tpb_core.run.stages import Stages

QUIET_S = 3.0
"""Before and after: slow sensors show edges late, and the load has stirred while it was started."""


class SwitchedRun(Stages):
    """Off for a moment, then the parts of the schedule, then off."""

    def __init__(
        self, point: Point, bundle: Path, run_id: str, load: Load, schedule: Sequence[Part], progress: Progress, interruption: Interruption
    ) -> None:
        study = {"study_id": run_id, "point": point.point, "arm": "0", "repeat": 0, "order": 0}
        super().__init__(point, bundle, run_id, study, progress, interruption, RealClock())
        self._manifest.observed(load.describe())
        self._load, self._schedule = load, schedule

    def run(self) -> None:
        """Meters, the load, its switching."""
        self._manifest.write()
        sampler = self._start_meters()
        groups = self._load.prepare()
        sampler.guard(groups)
        sampler.engine_started(groups)
        self._wait_until(self._clock.now_ns() + round(QUIET_S * NS_PER_S))
        self._load.begin()
        self.measuring = True
        self._enter("measure", sum(part.seconds for part in self._schedule))
        planned_ns = begin_ns = self._clock.now_ns()
        self._switch(self._schedule[0].level)
        for number, part in enumerate(self._schedule):
            planned_ns += round(part.seconds * NS_PER_S)
            self._wait_until(planned_ns)
            following = self._schedule[number + 1].level if number + 1 < len(self._schedule) else 0.0
            edge_ns = self._switch(following)
            self._recorder.window(f"measure/{number}", begin_ns, edge_ns, f"{NOTE}{part.level:g}")
            begin_ns = edge_ns
        self._leave("measure", begin_ns)
        self._wait_until(begin_ns + round(QUIET_S * NS_PER_S))

    def _switch(self, level: float) -> int:
        """Set the load; returns when that was done."""
        before_ns = self._clock.now_ns()
        self._load.set(level)
        return (before_ns + self._clock.now_ns()) // 2

    def _close_subject(self, error: TpbError | None) -> dict[str, Any] | None:
        return self._load.close()
