"""True power of one device: piecewise constant segments from the start of the world, and their exact integral."""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt


class PowerTrace:
    """Segments that follow each other without holes, in ns of the run clock. Before the start, power was always `before_w`."""

    def __init__(self, start_ns: int, before_w: float) -> None:
        self.start_ns, self.before_w = start_ns, before_w
        self._edges = array("d", [0.0])  # ns since start_ns: exact in a double for 104 days
        self._joules = array("d", [0.0])
        self._end_ns = start_ns

    @property
    def end_ns(self) -> int:
        """Where the trace ends so far."""
        return self._end_ns

    def append(self, t1_ns: int, watts: float) -> None:
        """Power `watts` from the present end to `t1_ns`. Segments of no length are dropped. Raises ValueError when time would go back."""
        if t1_ns < self._end_ns:
            raise ValueError(f"the trace of a device ends at {self._end_ns} ns and cannot be extended to {t1_ns} ns")
        if t1_ns == self._end_ns:
            return
        self._joules.append(self._joules[-1] + watts * (t1_ns - self._end_ns) / 1e9)
        self._edges.append(float(t1_ns - self.start_ns))
        self._end_ns = t1_ns

    def energy_j(self, t_ns: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Integral from the start to each time (fractions of a ns allowed), exact; negative before the start.

        Raises ValueError for times after the end: what has not happened cannot be read.
        """
        relative = np.asarray(t_ns, dtype=np.float64) - self.start_ns
        edges, joules = np.frombuffer(self._edges), np.frombuffer(self._joules)
        if relative.size and float(relative.max()) > edges[-1] + 0.5:
            raise ValueError(f"asked for {float(relative.max()):.0f} ns, but the trace ends after {edges[-1]:.0f} ns")
        inside: npt.NDArray[np.float64] = np.interp(relative, edges, joules)
        if relative.size and float(relative.min()) < 0.0:
            inside = np.where(relative < 0.0, relative * (self.before_w / 1e9), inside)
        return inside

    def segments(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Edges in ns of the run clock (n + 1) and power between them in W (n). Copies."""
        edges, joules = np.frombuffer(self._edges).copy(), np.frombuffer(self._joules).copy()
        return edges.astype(np.int64) + self.start_ns, np.diff(joules) / np.diff(edges) * 1e9

    def forget_before(self, t_ns: int) -> None:
        """Drop segments that end before `t_ns`; integrals keep counting from the start."""
        keep = max(int(np.searchsorted(np.frombuffer(self._edges), float(t_ns - self.start_ns), side="right")) - 1, 0)
        self._edges, self._joules = self._edges[keep:], self._joules[keep:]
