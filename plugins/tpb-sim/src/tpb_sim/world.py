"""The simulated machine of one run: devices with their true power, and the true log of steps. The engine writes it, the meter reads it."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tpb_sim.cost import CostModel, StaticPower, StepCost, Work
from tpb_sim.device import Device
from tpb_sim.sensor import SensorSpec
from tpb_sim.steplog import NOTHING, StepRecorder, StepRun

LOOK_BACK_NS = 60_000_000_000
"""How far back sensors may ask: update period, averaging and delay together stay below."""


@dataclass(frozen=True)
class Supply:
    """The rest of the node and its power supply: the node draws factor * (all devices + host_w) at the outlet."""

    host_w: float = 150.0
    factor: float = 1.08


class Jitter:
    """How much steps of the same work differ: independent lognormal factors on the time and on the energy of each step.

    A step's counterfactuals (prefill alone, decode alone) have its own factors: it is the same step on the same day.
    """

    def __init__(self, spread: float = 0.0, seed: int = 0) -> None:
        self._spread, self._random = spread, random.Random(f"jitter {seed}")

    def factors(self) -> tuple[float, float]:
        """Factors for the next step's time and energy."""
        if not self._spread:
            return 1.0, 1.0
        return math.exp(self._spread * self._random.gauss(0.0, 1.0)), math.exp(self._spread * self._random.gauss(0.0, 1.0))


@dataclass(frozen=True)
class InstancePlace:
    """Where an engine instance runs and what part it plays."""

    instance: str
    devices: tuple[str, ...]
    role: str = "mixed"
    dp_rank: int | None = None
    pp_stage: int | None = None


class World:
    """Devices come into being when either side first names them; they draw bare power until a model is loaded."""

    def __init__(self, start_ns: int, supply: Supply | None = None) -> None:
        self.start_ns = start_ns
        self.supply = supply or Supply()
        self.places: list[InstancePlace] = []
        self.jitter = Jitter()
        self.recorder: StepRecorder | None = StepRecorder()
        """None: no truth is kept."""
        self.cost: CostModel | None = None
        self.sensors: dict[str, SensorSpec] = {}
        """The sensor of each metered domain as it was built: what truth needs to say what a flawless analysis would read."""
        self._devices: dict[str, Device] = {}
        self._forgotten_ns = start_ns

    def device(self, name: str) -> Device:
        """The device `name` (`n0/gpu0`)."""
        if name not in self._devices:
            self._devices[name] = Device(name, self.start_ns, StaticPower())
        return self._devices[name]

    @property
    def devices(self) -> dict[str, Device]:
        """All devices so far."""
        return self._devices

    def load(self, places: Sequence[InstancePlace], cost: CostModel, t_ns: int) -> None:
        """A model is loaded: its devices idle at loaded power from `t_ns` on, and steps may run on these instances."""
        self.places, self.cost = list(places), cost
        for name in {device for place in places for device in place.devices}:
            device = self.device(name)
            device.idle_until(t_ns)
            device.static, device.loaded = cost.static, True

    def unload(self, t_ns: int) -> None:
        """The engine is gone; devices go back to bare power."""
        for device in self._devices.values():
            device.idle_until(t_ns)
            device.loaded = False

    def run_step(self, instance: int, t0_ns: int, work: Work, share: float = 1.0) -> StepRun:
        """Run one step of an instance from `t0_ns` on; `share` is the part of the model that the instance holds (pipeline stages)."""
        if self.cost is None:
            raise RuntimeError("a step was run before a model was loaded")
        full = self.cost.step(work)
        times, energies = self.jitter.factors()
        length_ns = max(round(full.duration_s * share * times * 1e9), 1)
        cost = StepCost(length_ns / 1e9, full.joules * share * energies)
        names = self.places[instance].devices
        step_w = cost.joules / len(names) / cost.duration_s
        static_w = 0.0
        for name in names:
            static_w = self._devices[name].run(t0_ns, t0_ns + length_ns, step_w)
        prefill_only, decode_only = (NOTHING, cost) if work.decode_tokens else (cost, NOTHING)
        if work.mixed:
            alone = [self.cost.step(part) for part in (work.prefill_only(), work.decode_only())]
            prefill_only, decode_only = (StepCost(part.duration_s * share * times, part.joules * share * energies) for part in alone)
        return StepRun(t0_ns, t0_ns + length_ns, cost, prefill_only, decode_only, static_w)

    def forget_old(self, now_ns: int) -> None:
        """Where no truth is kept, drop what no sensor looks back to, so that memory does not grow with the run."""
        if self.recorder is not None or now_ns - self._forgotten_ns < 2 * LOOK_BACK_NS:
            return
        self._forgotten_ns = now_ns
        for device in self._devices.values():
            device.trace.forget_before(now_ns - LOOK_BACK_NS)

    def energy_j(self, domain: str, t_ns: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """True energy of a device, or of a node with everything in it at the outlet, from the start of the world to each time."""
        times = np.asarray(t_ns, dtype=np.float64)
        last_ns = int(np.ceil(times.max())) if times.size else self.start_ns
        if domain in self._devices:
            self._devices[domain].idle_until(last_ns)
            return self._devices[domain].trace.energy_j(times)
        total = self.supply.host_w * (times - self.start_ns) / 1e9
        for name, device in self._devices.items():
            if name.startswith(domain + "/"):
                device.idle_until(last_ns)
                total = total + device.trace.energy_j(times)
        return self.supply.factor * total


_WORLDS: dict[str, World] = {}
_LOCK = threading.Lock()


def world_of(run_id: str, start_ns: int) -> World:
    """The world of a run in this process; the first who asks makes it, beginning at `start_ns`."""
    with _LOCK:
        return _WORLDS.setdefault(run_id, World(start_ns))


def find_world(run_id: str) -> World | None:
    """The world of a run, if it ran in this process and was not freed."""
    return _WORLDS.get(run_id)


def free_world(run_id: str) -> None:
    """Forget a world. Unknown runs are fine."""
    with _LOCK:
        _WORLDS.pop(run_id, None)
