"""Device handles by UUID: fetched once, and fetched again, NVML restarted, after a driver reset. Never by index, which may shift."""

from __future__ import annotations

import contextlib
from typing import Any

from tpb_core.api.clock import Clock

RETRY_NS = 1_000_000_000
"""A lost device is looked for once a second: restarting NVML is dear."""


class Handles:
    """Owns this meter's initialisation of NVML. `start` and `stop` nest with other users of NVML in the process."""

    def __init__(self, nvml: Any, clock: Clock) -> None:
        self._nvml, self._clock = nvml, clock
        self._handles: dict[str, Any] = {}
        self._lost_ns: dict[str, int] = {}
        self._tried_ns = -RETRY_NS

    def put(self, uuid: str, handle: Any) -> None:
        """Keep a handle that was fetched while the boards were listed."""
        self._handles[uuid] = handle

    def of(self, uuid: str) -> Any | None:
        """The handle of a device; None while it is lost."""
        return self._handles.get(uuid)

    def lose(self, uuid: str) -> None:
        """The device did not answer: forget its handle."""
        self._handles.pop(uuid, None)
        self._lost_ns.setdefault(uuid, self._clock.now_ns())

    def find_lost(self) -> dict[str, float]:
        """Look for lost devices, at most once a second. Those that answer again, with the seconds that they were away."""
        now_ns = self._clock.now_ns()
        if not self._lost_ns or now_ns - self._tried_ns < RETRY_NS:
            return {}
        self._tried_ns = now_ns
        nvml, found = self._nvml, {}
        with contextlib.suppress(nvml.NVMLError):  # the library forgets its state when the driver goes
            nvml.nvmlShutdown()
        with contextlib.suppress(nvml.NVMLError):  # still away; the next try is a second from now
            nvml.nvmlInit()
        for uuid in (*self._lost_ns, *self._handles):
            with contextlib.suppress(nvml.NVMLError):
                self._handles[uuid] = nvml.nvmlDeviceGetHandleByUUID(uuid)
                if uuid in self._lost_ns:
                    found[uuid] = (now_ns - self._lost_ns[uuid]) / 1e9
        for uuid in found:
            del self._lost_ns[uuid]
        return found

    def clear(self) -> None:
        """Forget all handles."""
        self._handles.clear()
        self._lost_ns.clear()
