"""The stages of one run in their order: meters, engine, warm-up, idle, measure, idle, end. Each stage is a window of the bundle."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tpb_core.api.channel import LEDGER_KINDS
from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_core.api.errors import BadInput, Interrupted, Refused, TpbError
from tpb_core.api.units import NS_PER_S
from tpb_core.config.schema import Point
from tpb_core.run.clock import VirtualClock
from tpb_core.run.drive import Driver
from tpb_core.run.engine_client import EngineClient
from tpb_core.run.engine_shelf import EngineShelf
from tpb_core.run.environment import gpus_seen_by_os, machine_id
from tpb_core.run.load import LoadShape, make_shape
from tpb_core.run.progress import Progress
from tpb_core.run.recorder import Recorder
from tpb_core.run.request_plan import RequestPlan, check_capabilities, plan_requests
from tpb_core.run.run_manifest import RunManifest
from tpb_core.run.sampler_client import LocalSampler, ProcessSampler, SamplerClient
from tpb_core.run.warmup import WarmUp
from tpb_core.store.live import hold_live

NODE = "n0"


class Measurement:
    """One run while it happens. `run` goes through the stages; `end` closes what was opened, in whatever stage it stopped."""

    def __init__(
        self, point: Point, bundle: Path, run_id: str, study: dict[str, Any], progress: Progress, shelf: EngineShelf, clock: Clock
    ) -> None:
        self.point, self.bundle, self.run_id = point, bundle, run_id
        self.measuring = False
        """Set when something has been measured that must not be thrown away."""
        self._progress, self._shelf = progress, shelf
        self._live = hold_live(bundle)
        self._clock = clock
        self._recorder = Recorder(bundle, self._clock, NODE)
        self._manifest = RunManifest(bundle, run_id, study, point, self._clock)
        self._shape: LoadShape = make_shape(point.load, point.run.seed)
        self._sampler: SamplerClient | None = None
        self._engine: EngineClient | None = None
        self._context: dict[str, Any] = {}
        self._window: str | None = None

    def run(self) -> None:
        """All stages. Raises what went wrong; `end` must be called afterwards in any case."""
        self._manifest.write()
        self._recorder.event(EventCode.RUN_STARTED, self.run_id, level="info")
        sampler = self._start_meters()
        if self.point.run.idle_bare_s > 0:
            self._idle("idle_bare", self.point.run.idle_bare_s)
        engine, as_batch = self._load_engine(sampler)
        plan = self._plan(engine)
        driver = Driver(
            engine=engine,
            recorder=self._recorder,
            sampler=sampler,
            clock=self._clock,
            progress=self._progress,
            as_batch=as_batch,
            request_timeout_ns=round(self.point.run.request_timeout_s * NS_PER_S),
        )
        warmup = WarmUp(self._shape.max_concurrency, self.point.run.warmup_rounds, plan)
        if self.point.run.warmup_rounds > 0:
            with self._stage("warmup"):
                warmup.run(driver)
        idle_s = self.point.run.idle_s if self._manifest.has_sensor() else 0.0
        if idle_s > 0:
            self._idle("idle_loaded_before", idle_s)
        self._measure(driver, plan, first_ordinal=warmup.requests)
        if idle_s > 0:
            self._idle("idle_loaded_after", idle_s)

    # --- stages --------------------------------------------------------------------------------------------------------------

    def _start_meters(self) -> SamplerClient:
        self._progress.window("meters")
        context = {"run_id": self.run_id, "node": NODE, "machine_id": machine_id(), "environ": _device_environment(os.environ)}
        if isinstance(self._clock, VirtualClock):
            self._sampler = LocalSampler(self.bundle, self._clock, context)
        else:
            self._sampler = ProcessSampler(self.bundle, context)
        started = self._sampler.start(self.point.meters)
        for missing in started["unavailable"]:
            if self.point.meters[missing["meter"]].get("required"):
                raise Refused(f"meter {missing['meter']!r} is required and does not work here: {missing['what']}", missing["fix"])
        self._manifest.meters_started(started)
        self._manifest.write()
        self._notice_unused_devices(started["channels"])
        return self._sampler

    def _load_engine(self, sampler: SamplerClient) -> tuple[EngineClient, bool]:
        name = self.point.engine["name"]
        self._context = {
            "run_id": self.run_id,
            "node": NODE,
            "max_concurrency": self._shape.max_concurrency,
            "log_path": str(self.bundle / "worker.log"),
        }
        engine, loaded = self._shelf.take(self.point, self.bundle, self._clock, self._context)
        self._engine = engine
        pids = [engine.transport.pid] if engine.transport.pid is not None else []
        sampler.guard(pids)
        sampler.engine_started(pids)
        as_batch = check_capabilities(
            engine,
            self.point.sampling,
            static_batch=self._shape.static_batch,
            max_concurrency=self._shape.max_concurrency,
            name=name,
        )
        if loaded:
            description = engine.description
        else:
            with self._stage("load"):
                description = engine.open(float(self.point.engine.get("start_timeout_s", 900.0)), self._clock.now_ns())
        self._manifest.engine_loaded(description)
        for key, asked, got in self._manifest.options_that_differ():
            self._recorder.event(EventCode.OPTIONS_DIFFER, f"engine.{key}: asked {asked!r}, effective {got!r}", source="engine")
        self._manifest.write()
        return engine, as_batch

    def _plan(self, engine: EngineClient) -> RequestPlan:
        plan = plan_requests(self.point.prompts, self.point.sampling, self.point.load.requests, self.point.run.seed, engine, self.run_id)
        for note in plan.notes:
            self._progress.note(note)
        self._recorder.prompts(plan.prompts)
        self._manifest.planned(plan)
        return plan

    def _measure(self, driver: Driver, plan: RequestPlan, first_ordinal: int) -> None:
        assert self._sampler is not None
        if self.point.run.max_duration_s is not None:
            driver.max_duration_ns = round(self.point.run.max_duration_s * NS_PER_S)
        self._shape.use_arrivals([prompt.arrival_s for prompt in plan.prompts])
        before = self._costs()
        self.measuring = True
        self._enter("measure")
        driver.run(self._shape, lambda position: plan.request(first_ordinal + position, position), "measured")
        last_ns = self._clock.now_ns()
        end_ns = self._shape.end_ns() if driver.engine.capabilities.token_stamps else None
        if end_ns is None or end_ns > last_ns:
            end_ns = max(last_ns, end_ns or 0)
            self._wait_until(end_ns)
        self._leave("measure", end_ns)
        if end_ns < last_ns:
            self._recorder.window("drain", end_ns, last_ns, note="from the end of the schedule to the last answer")
        self._manifest.measured(before, self._costs())
        if steady := self._shape.steady():
            self._recorder.window("steady", *steady, note="concurrency at its target")

    def _idle(self, window: str, seconds: float) -> None:
        with self._stage(window, expected_s=seconds):
            self._wait_until(self._clock.now_ns() + round(seconds * NS_PER_S))

    def _wait_until(self, end_ns: int) -> None:
        while (now_ns := self._clock.now_ns()) < end_ns:
            self._shelf.interruption.check()
            self._clock.sleep_until(min(end_ns, now_ns + NS_PER_S // 4))
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

    # --- the end -------------------------------------------------------------------------------------------------------------

    def end(self, error: TpbError | None) -> None:
        """Close engine, meters and streams, whatever happened; write the last manifest of the running bundle."""
        if error is not None:
            code = EventCode.INTERRUPTED if isinstance(error, Interrupted) else EventCode.ENGINE_ERROR
            code = {"EngineLost": EventCode.ENGINE_LOST, "SamplerLost": EventCode.SAMPLER_LOST}.get(type(error).__name__, code)
            self.note_event(code, error.what, level="error")
        last_words = None
        if self._engine is not None:
            last_words = self._shelf.give_back(self.point, self._engine, self._clock, self._context, healthy=error is None)
        sampler_cost = self._sampler.stop() if self._sampler is not None else {}
        self.note_event(EventCode.RUN_FINISHED, "complete" if error is None else error.what, level="info")
        self._manifest.ended(sampler_cost, last_words)
        with contextlib.suppress(OSError):  # a full disk: what was flushed stays, and finish_bundle says what is missing
            self._recorder.close()
        with contextlib.suppress(OSError):
            self._manifest.write()
        self._live.close()

    def abandon(self) -> None:
        """Nothing was measured: close what was opened and write nothing more."""
        if self._engine is not None:
            self._engine.transport.end()
        if self._sampler is not None:
            self._sampler.stop()
        with contextlib.suppress(OSError):
            self._recorder.close()
        self._live.close()

    def note_event(self, code: EventCode, message: str, *, level: str = "warning") -> None:
        """An event of the run; lost only where the disk is full."""
        with contextlib.suppress(OSError):
            self._recorder.event(code, message, level=level)

    def _costs(self) -> dict[str, Any]:
        assert self._sampler is not None
        assert self._engine is not None
        flushed = self._engine.flush()
        if flushed["steps_serialised"]:
            self.note_event(EventCode.STEPS_SERIALISED, f"{flushed['steps_serialised']} steps", level="info")
        return {"session_cpu_s": time.process_time(), "worker_cpu_s": flushed["cpu_s"], "sampler": self._sampler.overhead()}

    def _notice_unused_devices(self, channels: list[dict[str, Any]]) -> None:
        gpus = gpus_seen_by_os()
        used = {c["device"] for c in channels if c.get("allocated", True) and c["scope"] in ("gpu", "module") and c["kind"] in LEDGER_KINDS}
        if gpus and not used and not self._clock.virtual:
            self._recorder.event(
                EventCode.DEVICE_UNUSED,
                f"this machine has {len(gpus)} GPU(s) ({', '.join(gpus)}) that this run did not use or measure",
            )


def _device_environment(environ: Any) -> dict[str, str]:
    """The variables that decide which devices an engine sees; nothing else of the environment leaves this process."""
    prefixes = ("CUDA_", "NVIDIA_", "HIP_", "ROCR_", "GPU_", "ZE_")
    return {key: value for key, value in environ.items() if key.startswith(prefixes)}


def check_load(point: Point) -> None:
    """Refuse a load that cannot be, before anything is started. Raises `BadInput`."""
    if point.run.repeats < 1:
        raise BadInput(f"run.repeats={point.run.repeats}: at least 1 is needed")
    make_shape(point.load, point.run.seed)
