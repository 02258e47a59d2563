"""The frame of every run: meters, windows, waiting, the end. What happens in between is `measurement` (an engine under a load) or
`observation` (a program or a server that is only watched)."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tpb_core.api.channel import LEDGER_KINDS
from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_core.api.errors import Interrupted, Refused, TpbError
from tpb_core.api.units import NS_PER_S
from tpb_core.config.schema import Point
from tpb_core.run.clock import VirtualClock
from tpb_core.run.environment import gpus_seen_by_os, machine_id
from tpb_core.run.gate import Gate
from tpb_core.run.interruption import Interruption
from tpb_core.run.progress import Progress
from tpb_core.run.recorder import Recorder
from tpb_core.run.run_manifest import RunManifest
from tpb_core.run.sampler_client import LocalSampler, ProcessSampler, SamplerClient, SamplerLost
from tpb_core.store.live import hold_live

NODE = "n0"
_LOOK_AROUND_NS = NS_PER_S // 4


class Stages(ABC):
    """One run while it happens. `run` goes through its stages; `end` closes what was opened, in whatever stage it stopped."""

    def __init__(
        self, point: Point, bundle: Path, run_id: str, study: dict[str, Any], progress: Progress, interruption: Interruption, clock: Clock
    ) -> None:
        self.point, self.bundle, self.run_id = point, bundle, run_id
        self.measuring = False
        """Set when something has been measured that must not be thrown away."""
        self._progress, self._interruption, self._clock = progress, interruption, clock
        self._live = hold_live(bundle)
        self._recorder = Recorder(bundle, clock, NODE, keep_texts=point.run.keep_texts)
        self._manifest = RunManifest(bundle, run_id, study, point, clock)
        self._sampler: SamplerClient | None = None

        self._power_controlled = False

    @abstractmethod
    def run(self) -> None:
        """All stages. Raises what went wrong; `end` or `abandon` must be called afterwards in any case."""

    @abstractmethod
    def _close_subject(self, error: TpbError | None) -> dict[str, Any] | None:
        """End what is measured; returns its last words (`cpu_s`), where it has any."""

    # --- meters and windows --------------------------------------------------------------------------------------------------

    def _start_meters(self) -> SamplerClient:
        self._progress.window("meters")
        context = self._sampler_context()
        if isinstance(self._clock, VirtualClock):
            self._sampler = LocalSampler(self.bundle, self._clock, context)
        else:
            self._sampler = ProcessSampler(self.bundle, context)
        started = self._sampler.start(self.point.meters)
        for missing in started["unavailable"]:
            if self.point.meters[missing["meter"]].get("required"):
                raise Refused(f"meter {missing['meter']!r} is required and does not work here: {missing['what']}", missing["fix"])
        self._manifest.meters_started(started)
        self._control_power(self._sampler)
        self._manifest.write()
        self._notice_unused_devices(started["channels"])
        return self._sampler

    def _sampler_context(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "node": NODE, "machine_id": machine_id(), "environ": _device_environment(os.environ)}

    def _control_power(self, sampler: SamplerClient) -> None:
        limit_w, clock_mhz = self.point.run.power_limit_w, self.point.run.lock_clock_mhz
        if limit_w is None and clock_mhz is None:
            return
        self._power_controlled = True
        effective_w = sampler.control_power(limit_w, clock_mhz)
        self._manifest.power_controlled(limit_w, clock_mhz, effective_w)

    def _wait_for_gate(self, sampler: SamplerClient) -> None:
        """Wait until the devices are idle, cool and steady, at most `run.gate_timeout_s`; what came of it is in the manifest."""
        gate = Gate(self._manifest.document["channels"], self.point.run.gate_s)
        begin_ns = self._clock.now_ns()
        if not gate.channels:
            self._manifest.gate_waited(None, 0.0)
            return
        self._progress.window("gate")
        give_up_ns = begin_ns + round(self.point.run.gate_timeout_s * NS_PER_S)
        blockers = ["not looked at yet"]
        while blockers and (now_ns := self._clock.now_ns()) < give_up_ns:
            gate.observe(now_ns, sampler.latest())
            blockers = gate.blockers(now_ns)
            if blockers:
                self._wait_until(now_ns + NS_PER_S)
        if blockers:
            self.note_event(EventCode.GATE_FAILED, "; ".join(blockers))
        self._manifest.gate_waited(not blockers, (self._clock.now_ns() - begin_ns) / NS_PER_S)

    def _put_back_after_loss(self) -> None:
        """The sampler died with a power limit set. A new one finds the note that was left, puts the devices back, and ends."""
        replacement = ProcessSampler(self.bundle, self._sampler_context())
        with contextlib.suppress(TpbError):
            replacement.start(self.point.meters)
        replacement.stop()

    def _wait_until(self, end_ns: int) -> None:
        while (now_ns := self._clock.now_ns()) < end_ns:
            self._interruption.check()
            self._clock.sleep_until(min(end_ns, now_ns + _LOOK_AROUND_NS))
            if self._sampler is not None:
                self._sampler.check()
            self._recorder.flush()
            self._manifest.anchor_if_due()

    @contextmanager
    def _stage(self, window: str, expected_s: float | None = None) -> Iterator[None]:
        """A window around a stage. One that is cut off keeps its start and has no end."""
        self._enter(window, expected_s)
        yield
        self._leave(window, self._clock.now_ns())

    def _enter(self, window: str, expected_s: float | None = None) -> None:
        assert self._sampler is not None
        self._progress.window(window, expected_s)
        self._sampler.edge(window)
        self._manifest.anchor()
        self._recorder.open_window(window, self._clock.now_ns())

    def _leave(self, window: str, t_ns: int) -> None:
        assert self._sampler is not None
        self._recorder.close_window(window, t_ns)
        self._sampler.edge(window)

    def _idle(self, window: str, seconds: float) -> None:
        with self._stage(window, expected_s=seconds):
            self._wait_until(self._clock.now_ns() + round(seconds * NS_PER_S))

    def _notice_unused_devices(self, channels: list[dict[str, Any]]) -> None:
        gpus = gpus_seen_by_os()
        used = {c["device"] for c in channels if c.get("allocated", True) and c["scope"] in ("gpu", "module") and c["kind"] in LEDGER_KINDS}
        if gpus and not used and not self._clock.virtual:
            self._recorder.event(
                EventCode.DEVICE_UNUSED,
                f"this machine has {len(gpus)} GPU(s) ({', '.join(gpus)}) that this run did not use or measure",
            )

    # --- the end -------------------------------------------------------------------------------------------------------------

    def end(self, error: TpbError | None) -> None:
        """Close subject, meters and streams, whatever happened; write the last manifest of the running bundle."""
        if error is not None:
            code = EventCode.INTERRUPTED if isinstance(error, Interrupted) else EventCode.ENGINE_ERROR
            code = {"EngineLost": EventCode.ENGINE_LOST, "SamplerLost": EventCode.SAMPLER_LOST}.get(type(error).__name__, code)
            self.note_event(code, error.what, level="error")
        last_words = self._close_subject(error)
        sampler_cost = self._sampler.stop() if self._sampler is not None else {}
        if self._power_controlled and isinstance(error, SamplerLost):
            self._put_back_after_loss()
        self.note_event(EventCode.RUN_FINISHED, "complete" if error is None else error.what, level="info")
        self._manifest.ended(sampler_cost, last_words)
        with contextlib.suppress(OSError):  # a full disk: what was flushed stays, and finish_bundle says what is missing
            self._recorder.close()
        with contextlib.suppress(OSError):
            self._manifest.write()
        self._live.close()

    def abandon(self, error: TpbError) -> None:
        """Nothing was measured: close what was opened and write nothing more."""
        self._close_subject(error)
        if self._sampler is not None:
            self._sampler.stop()
        with contextlib.suppress(OSError):
            self._recorder.close()
        self._live.close()

    def note_event(self, code: EventCode, message: str, *, level: str = "warning") -> None:
        """An event of the run; lost only where the disk is full."""
        with contextlib.suppress(OSError):
            self._recorder.event(code, message, level=level)


def _device_environment(environ: Any) -> dict[str, str]:
    """The variables that decide which devices an engine sees; nothing else of the environment leaves this process."""
    prefixes = ("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "GPU_", "ZE_")
    return {key: value for key, value in environ.items() if key.startswith(prefixes)}
