"""Watch something that is not under our load: a program that we start, or a server that others use. Meters only, no requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from tpb_core.api.codes import EventCode
from tpb_core.api.errors import Interrupted, TpbError
from tpb_core.api.units import NS_PER_MS, NS_PER_S
from tpb_core.config.schema import Point
from tpb_core.run.clock import RealClock
from tpb_core.run.interruption import Interruption
from tpb_core.run.progress import Progress
from tpb_core.run.stages import Stages


class Subject(Protocol):
    """What is watched. Used by the session's thread."""

    @property
    def may_end_early(self) -> bool:
        """Whether Ctrl-C is a good end of the measurement and not a disturbance of it."""

    def describe(self) -> dict[str, Any]:
        """The manifest key `engine`: `name` and whatever else is known."""

    def prepare(self) -> list[int]:
        """Get ready to begin; returns the process ids that belong to it. Raises `BadInput` where it cannot be started."""

    def begin(self) -> None:
        """Begin: the window is open."""

    def ended(self, run_s: float) -> bool:
        """Whether the measurement is over, `run_s` seconds after its beginning."""

    def close(self) -> dict[str, Any] | None:
        """Give back what `prepare` took. Idempotent."""


class Observation(Stages):
    """The window `measure` around the subject, cut into slices `measure/0`, `measure/1`, ... where asked; idle windows around it."""

    def __init__(
        self,
        point: Point,
        bundle: Path,
        run_id: str,
        subject: Subject,
        progress: Progress,
        interruption: Interruption,
        slice_s: float | None,
    ) -> None:
        study = {"study_id": run_id, "point": point.point, "arm": "0", "repeat": 0, "order": 0}
        super().__init__(point, bundle, run_id, study, progress, interruption, RealClock())
        self._manifest.observed(subject.describe())
        self._subject = subject
        self._slice_ns = None if slice_s is None else round(slice_s * NS_PER_S)

    def run(self) -> None:
        """Meters, idle, the subject, idle."""
        self._manifest.write()
        sampler = self._start_meters()
        idle_s = self.point.run.idle_bare_s if self._manifest.has_sensor() else 0.0
        if idle_s > 0:
            self._idle("idle_bare", idle_s)
        sampler.engine_started(self._subject.prepare())
        self._wait_until(self._clock.now_ns() + NS_PER_S // 4)  # meters that look at processes have read them once
        self.measuring = True
        self._enter("measure")
        begin_ns = self._clock.now_ns()
        self._subject.begin()
        slice_begin_ns, slices, stopped = begin_ns, 0, False
        while True:
            now_ns = self._clock.now_ns()
            over = stopped or self._subject.ended((now_ns - begin_ns) / NS_PER_S)
            if self._slice_ns is not None and (now_ns - slice_begin_ns >= self._slice_ns or (over and slices)):
                self._recorder.window(f"measure/{slices}", slice_begin_ns, now_ns)
                slice_begin_ns, slices = now_ns, slices + 1
            if over:
                break
            try:
                self._wait_until(now_ns + NS_PER_S // 50)
            except Interrupted:
                if not self._subject.may_end_early:
                    raise
                stopped = True
                self._interruption.forget()
                self._recorder.event(EventCode.INTERRUPTED, "ended before its time by the user", level="info")
        self._leave("measure", now_ns)
        self._wait_until(now_ns + self._settle_ns())

    def _settle_ns(self) -> int:
        """Until every meter has been read once more after the end, so that its readings enclose the window; five seconds at most."""
        slowest_ms = max((float(options.get("interval_ms", 100.0)) for options in self.point.meters.values()), default=0.0)
        return round(min(1.5 * slowest_ms, 5_000.0) * NS_PER_MS)

    def _close_subject(self, error: TpbError | None) -> dict[str, Any] | None:
        return self._subject.close()
