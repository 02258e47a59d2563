"""An engine under a load: load the model, warm up, idle, measure, idle. Each stage is a window of the bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tpb_core.api.clock import Clock
from tpb_core.api.codes import EventCode
from tpb_core.api.errors import BadInput, TpbError
from tpb_core.api.units import NS_PER_S
from tpb_core.config.schema import Point
from tpb_core.run.drive import Driver
from tpb_core.run.engine_client import EngineClient
from tpb_core.run.engine_shelf import EngineShelf
from tpb_core.run.load import LoadShape, make_shape
from tpb_core.run.load_client import ClientCores, busy_cpu_s
from tpb_core.run.progress import Progress
from tpb_core.run.request_plan import RequestPlan, check_capabilities, longest_request_tokens, plan_requests
from tpb_core.run.sampler_client import SamplerClient
from tpb_core.run.stages import NODE, Stages
from tpb_core.run.warmup import WarmUp


class Measurement(Stages):
    """One run of an engine. Lives in the session process."""

    def __init__(
        self, point: Point, bundle: Path, run_id: str, study: dict[str, Any], progress: Progress, shelf: EngineShelf, clock: Clock
    ) -> None:
        super().__init__(point, bundle, run_id, study, progress, shelf.interruption, clock)
        self._shelf = shelf
        self._shape: LoadShape = make_shape(point.load, point.run.seed)
        self._engine: EngineClient | None = None
        self._context: dict[str, Any] = {}
        self._cores = ClientCores(point.run.client_cores)

    def run(self) -> None:
        """All stages. Raises what went wrong; `end` must be called afterwards in any case."""
        self._manifest.write()
        self._recorder.event(EventCode.RUN_STARTED, self.run_id, level="info")
        self._cores.pin_session()
        sampler = self._start_meters()
        if self.point.run.gate_s > 0:
            self._wait_for_gate(sampler)
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

    def _load_engine(self, sampler: SamplerClient) -> tuple[EngineClient, bool]:
        self._context = {
            "run_id": self.run_id,
            "node": NODE,
            "max_concurrency": self._shape.max_concurrency,
            "max_context_tokens": longest_request_tokens(self.point),
            "log_path": str(self.bundle / "worker.log"),
        }
        engine, loaded = self._shelf.take(self.point, self.bundle, self._clock, self._context)
        self._engine = engine
        self._cores.pin_worker(engine.transport.pid, is_client=False)
        pids = [engine.transport.pid] if engine.transport.pid is not None else []
        sampler.guard(pids)
        sampler.engine_started(pids)
        as_batch = self._check_capabilities(engine)
        if loaded:
            description = engine.description
        else:
            with self._stage("load"):
                description = engine.open(float(self.point.engine.get("start_timeout_s", 900.0)), self._clock.now_ns())
            as_batch = self._check_capabilities(engine)  # what a server can do is known when it is there
        self._cores.pin_worker(engine.transport.pid, is_client=engine.capabilities.served)
        self._manifest.engine_loaded(description)
        for key, asked, got in self._manifest.options_that_differ():
            self._recorder.event(EventCode.OPTIONS_DIFFER, f"engine.{key}: asked {asked!r}, effective {got!r}", source="engine")
        self._manifest.write()
        return engine, as_batch

    def _check_capabilities(self, engine: EngineClient) -> bool:
        return check_capabilities(
            engine,
            self.point.sampling,
            static_batch=self._shape.static_batch,
            max_concurrency=self._shape.max_concurrency,
            name=self.point.engine["name"],
        )

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
        self._shape.use_conversations(plan.conversations(self._shape.total))
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
        self._manifest.measured(before, self._costs(), worker_is_client=driver.engine.capabilities.served)
        if steady := self._shape.steady():
            self._recorder.window("steady", *steady, note="concurrency at its target")

    def _close_subject(self, error: TpbError | None) -> dict[str, Any] | None:
        self._cores.free_session()
        if self._engine is None:
            return None
        last_words: dict[str, Any] | None = self._shelf.give_back(
            self.point, self._engine, self._clock, self._context, healthy=error is None
        )
        return last_words

    def _costs(self) -> dict[str, Any]:
        assert self._sampler is not None
        assert self._engine is not None
        flushed = self._engine.flush()
        if flushed["steps_serialised"]:
            self.note_event(EventCode.STEPS_SERIALISED, f"{flushed['steps_serialised']} steps", level="info")
        return {
            "session_cpu_s": time.process_time(),
            "worker_cpu_s": flushed["cpu_s"],
            "sampler": self._sampler.overhead(),
            "host_cpu_s": None if self._clock.virtual else busy_cpu_s(),
        }


def check_load(point: Point) -> None:
    """Refuse a load that cannot be, before anything is started. Raises `BadInput`."""
    if point.run.repeats < 1:
        raise BadInput(f"run.repeats={point.run.repeats}: at least 1 is needed")
    make_shape(point.load, point.run.seed)
    ClientCores(point.run.client_cores)
