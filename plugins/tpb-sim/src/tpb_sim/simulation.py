"""`simulate`: one run in memory, without Hydra, session, disk or clock. What studies with thousands of seeds stand on."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tpb_core.api import Channel, EventCode, Series, Window
from tpb_sim.channels import device_channels, drawn_errors, node_channel
from tpb_sim.cost import Affine, CostModel
from tpb_sim.loads import Load
from tpb_sim.memory_run import SimRun
from tpb_sim.sensor import SENSORS, Faults, Sensor, SensorSpec
from tpb_sim.server import Sequence, Server, ServerSpec, build_server, device_names, places
from tpb_sim.world import Jitter, Supply, World

START_NS = 1_000_000_000
READ_NS = 200_000
"""How long a read call takes: its stamp is the middle, its half width half of this."""


@dataclass(frozen=True)
class Metering:
    """The sensors of a world and how they are polled."""

    sensors: tuple[SensorSpec, ...] = (SENSORS["h100"],)
    """One for each device; the last one serves all further devices."""
    node: SensorSpec | None = None
    faults: Faults = field(default_factory=Faults)
    interval_ms: float = 100.0
    node_interval_ms: float = 1000.0
    lateness_ms: float = 1.0
    """Ticks come up to this much late."""
    draw_errors: bool = False
    """Draw the gain and offset of every sensor from what its channels declare, by the seed."""


@dataclass(frozen=True)
class WorldSpec:
    """Everything about a run but its seed."""

    cost: CostModel = field(default_factory=Affine)
    server: ServerSpec = field(default_factory=lambda: ServerSpec(batching="static"))
    load: Load = field(default_factory=Load)
    metering: Metering = field(default_factory=Metering)
    supply: Supply = field(default_factory=Supply)
    jitter: float = 0.0
    """Relative spread of the time and of the energy of steps with the same work."""
    idle_s: float = 5.0
    """Idle windows before and after, with the model loaded; 0: none."""
    lead_s: float = 4.0
    """Idle time before the first and after the last window, while meters are read: slow ones look back."""


def simulate(spec: WorldSpec | None = None, seed: int = 0) -> SimRun:
    """Run a world to its end and read its meters. The same spec and seed give the same run, bit by bit."""
    spec = spec or WorldSpec()
    lengths, arrivals, ticks = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3))
    world = World(START_NS, spec.supply)
    instances = places(spec.server)
    world.load(instances, spec.cost, START_NS)
    world.jitter = Jitter(spec.jitter, seed)
    begin_ns = START_NS + round((spec.lead_s + spec.idle_s) * 1e9)
    server = build_server(spec.server, world, instances, seed)
    served = _LoadDriver(spec.load, server, begin_ns, lengths, arrivals)
    last_ns = served.run()
    measure_ns = served.scheduled_end_ns if served.scheduled_end_ns is not None else last_ns
    windows = _windows(spec.idle_s, begin_ns, measure_ns, last_ns)
    end_ns = max(last_ns, measure_ns) + round((spec.idle_s + spec.lead_s) * 1e9)
    readings, channels = _read_meters(spec.metering, spec.server, world, end_ns, seed, ticks)
    events = []
    if server.serialised:
        events.append((last_ns, "info", str(EventCode.STEPS_SERIALISED), f"{server.serialised} steps were serialised"))
    run_id = f"sim-{seed}"
    return SimRun(
        run_id,
        _manifest(run_id, spec, world, channels, begin_ns),
        channels,
        windows,
        world,
        served.sequences,
        readings,
        served.due_ns,
        events,
    )


class _LoadDriver:
    """Sends the requests of a load to a server and lets events pass until all are over."""

    def __init__(self, load: Load, server: Server, begin_ns: int, lengths: np.random.Generator, arrivals: np.random.Generator) -> None:
        self._load, self._server, self._begin_ns = load, server, begin_ns
        inputs, outputs = load.input_tokens.draw(load.requests, lengths).tolist(), load.output_tokens.draw(load.requests, lengths).tolist()
        cached = (lengths.random(load.requests) < load.cached_share).tolist()
        self.sequences = [
            Sequence(number, inputs[number], outputs[number], cached_tokens=inputs[number] // 2 if cached[number] else 0)
            for number in range(load.requests)
        ]
        self._cancel = (lengths.random(load.requests) < load.cancelled_share).tolist()
        self._patience_ns = (lengths.random(load.requests) * 2e9).astype(np.int64).tolist()
        self.due_ns = [begin_ns] * load.requests
        self.scheduled_end_ns: int | None = None
        self._sent = 0
        self._ended = 0
        self._timers: list[tuple[int, int, bool]] = []  # time, request, whether to send it (else: cancel it)
        if load.shape == "poisson":
            self.due_ns, self.scheduled_end_ns = load.arrivals_ns(begin_ns, arrivals)
            self._timers = [(t_ns, number, True) for number, t_ns in enumerate(self.due_ns)]
            self._sent = load.requests
        else:
            self._send(load.first(), begin_ns)

    def _send(self, count: int, t_ns: int) -> None:
        for number in range(self._sent, min(self._sent + count, self._load.requests)):
            self.due_ns[number] = t_ns
            heapq.heappush(self._timers, (t_ns, number, True))
        self._sent = min(self._sent + count, self._load.requests)

    def run(self) -> int:
        """Returns when the last request ended."""
        server, now_ns, last_ns = self._server, self._begin_ns, self._begin_ns
        while True:
            event_ns = server.next_event_ns()
            if self._timers and (event_ns is None or self._timers[0][0] <= event_ns):
                now_ns = max(self._timers[0][0], now_ns)
            elif event_ns is not None:
                now_ns = event_ns
            else:
                return last_ns
            for step in server.settle(now_ns):
                for sequence in step.finished:
                    last_ns = max(last_ns, self._end(sequence, step.t1_ns))
            while self._timers and self._timers[0][0] <= now_ns:
                last_ns = max(last_ns, self._fire(now_ns))
            server.start_ready(now_ns)

    def _fire(self, now_ns: int) -> int:
        _, number, send = heapq.heappop(self._timers)
        sequence = self.sequences[number]
        if send:
            self._server.submit(sequence, now_ns)
            if self._cancel[number]:
                heapq.heappush(self._timers, (now_ns + self._patience_ns[number], number, False))
        elif sequence.finished_ns is None and self._server.cancel(sequence):
            return self._end(sequence, now_ns)
        return now_ns if send else 0

    def _end(self, sequence: Sequence, t_ns: int) -> int:
        sequence.finished_ns = t_ns
        self._ended += 1
        if self._load.shape in ("closed", "single"):
            self._send(1, t_ns)
        elif self._load.shape == "static" and self._ended == self._sent:
            self._send(self._load.batch_size, t_ns)
        return t_ns


def _windows(idle_s: float, begin_ns: int, measure_ns: int, last_ns: int) -> list[Window]:
    windows = [Window("measure", begin_ns, measure_ns)]
    if last_ns > measure_ns:
        windows.append(Window("drain", measure_ns, last_ns))
    if idle_s > 0:
        idle_ns, end_ns = round(idle_s * 1e9), max(last_ns, measure_ns)
        windows = [
            Window("idle_loaded_before", begin_ns - idle_ns, begin_ns),
            *windows,
            Window("idle_loaded_after", end_ns, end_ns + idle_ns),
        ]
    return windows


def _read_meters(
    metering: Metering, server: ServerSpec, world: World, end_ns: int, seed: int, ticks: np.random.Generator
) -> tuple[dict[str, Series], list[Channel]]:
    """Poll every sensor from the start of the world to `end_ns`."""
    readings: dict[str, Series] = {}
    channels: list[Channel] = []
    for device in world.devices.values():
        device.idle_until(end_ns + 1_000_000_000)
    targets = [(name, metering.sensors[min(index, len(metering.sensors) - 1)]) for index, name in enumerate(device_names(server.devices))]
    if metering.node is not None:
        targets.append(("n0", metering.node))
    for place, (domain, spec) in enumerate(targets):
        on_node = domain == "n0"
        spec = drawn_errors(spec, seed, domain) if metering.draw_errors else spec
        world.sensors[domain] = spec
        sensor = Sensor(
            spec,
            partial(world.energy_j, domain),
            START_NS,
            seed * 1009 + place,
            Faults() if on_node else metering.faults,
        )
        interval_ns = round((metering.node_interval_ms if on_node else metering.interval_ms) * 1e6)
        due_ns = np.arange(START_NS, end_ns, interval_ns, dtype=np.int64)
        t_ns = due_ns + (ticks.random(len(due_ns)) * metering.lateness_ms * 1e6).astype(np.int64) + READ_NS // 2
        for channel in (
            [node_channel(domain, spec, f"simulated-{seed}/n0")]
            if on_node
            else device_channels(domain, "n0", spec, f"simulated-{seed}/{domain}")
        ):
            said = sensor.energy(t_ns) if channel.kind == "energy_counter" else sensor.power(t_ns)
            kept = said.readable
            readings[channel.channel] = Series(t_ns[kept], np.full(int(kept.sum()), READ_NS // 2), said.value[kept])
            channels.append(channel)
    return readings, channels


def _manifest(run_id: str, spec: WorldSpec, world: World, channels: list[Channel], begin_ns: int) -> dict[str, object]:
    instances = [
        {"instance": p.instance, "role": p.role, "node": "n0", "devices": list(p.devices), "dp_rank": p.dp_rank, "pp_stage": p.pp_stage}
        for p in world.places
    ]
    return {
        "format": "tpb-run",
        "version": "1.0",
        "run_id": run_id,
        "status": "complete",
        "study": {"study_id": run_id, "point": "0", "arm": None, "repeat": 0, "order": 0},
        "clock": {"anchors": [], "virtual": True},
        "nodes": [{"node": "n0", "hostname": "simulated", "anchors": []}],
        "channels": [channel.to_json() for channel in channels],
        "engine": {"name": "sim", "version": "0", "prefix_cache": False, "instances": instances},
        "step_log": {"available": True, "members": True, "reason": None},
        "load": {"name": spec.load.shape, "requests": spec.load.requests, "batch_size": spec.load.batch_size},
        "plugins": [],
        "overhead": {},
    }
