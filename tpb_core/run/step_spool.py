"""Where the engine worker writes its step log: one row for each iteration, straight to disk, without passing through the session."""

from __future__ import annotations

from pathlib import Path

from tpb_core.api.errors import MeasurementFailed
from tpb_core.api.requests import Step
from tpb_core.store.schema import STEPS
from tpb_core.store.spool import StreamWriter

_FIX = "Free some space or move the results with out.dir=; what was written is kept and can be ingested."
_COLUMNS = tuple(STEPS.names)


class StepSpool:
    """Rows of steps.parquet, serialised: steps of one instance never overlap on disk.

    Host stamps of an engine with asynchronous scheduling do overlap (the next step is dispatched before the last one is reported). A
    step that begins before its predecessor ended is moved to begin there; `serialised` counts how often, so that the worker can say
    it once as the event `steps_serialised`.
    """

    def __init__(self, bundle: Path) -> None:
        self._writer = StreamWriter(bundle, "steps", "worker")
        self._ends_ns: dict[str, int] = {}
        self._count = 0
        self.serialised = 0

    def append(self, step: Step) -> None:
        """Number a step and buffer its row; flushed at least once a second."""
        end_ns = self._ends_ns.get(step.instance, step.t0_ns)
        if step.t0_ns < end_ns:
            self.serialised += 1
            step.t0_ns = end_ns
            step.t1_ns = max(step.t1_ns, end_ns)
        self._ends_ns[step.instance] = step.t1_ns
        row = tuple(self._count if name == "step" else getattr(step, name) for name in _COLUMNS)
        self._count += 1
        try:
            self._writer.append(row)
        except OSError as error:
            raise MeasurementFailed(f"the step log cannot be written: {error.strerror}", _FIX) from error

    def flush(self) -> None:
        """Write what is buffered."""
        self._writer.flush()

    def close(self) -> None:
        """Write the end mark."""
        self._writer.close()
