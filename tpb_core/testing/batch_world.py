"""A small world for attributors: static batches (or single requests) on a device whose power, and so whose phase energies, are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tpb_core.api import Channel, Window
from tpb_core.testing.memory_run import MemoryRun, members_of
from tpb_core.testing.power_world import PowerTrace

Floats = npt.NDArray[np.float64]
ORIGIN_S = 1000.0


@dataclass(frozen=True)
class BatchPlan:
    """What runs: batches, requests in each, mean durations in seconds and their relative spread, power of each state in watts."""

    batches: int = 30
    batch_size: int = 4
    prefill_s: float = 0.3
    decode_step_s: float = 0.03
    decode_steps: int = 60
    gap_s: float = 0.05
    spread: float = 0.1
    idle_w: float = 90.0
    gap_w: float = 130.0
    prefill_w: float = 600.0
    decode_w: float = 350.0
    ripple: float = 0.03
    idle_s: float = 5.0
    decode_drift: float = 0.0


@dataclass(frozen=True)
class BatchWorld:
    """The world: a run without samples, its power trace, and the true joules of each phase of `measure`."""

    run: MemoryRun
    trace: PowerTrace
    truth: dict[str, float]
    request_truth: dict[int, dict[str, float]] = field(default_factory=dict)
    read_from_s: float = 0.0
    read_to_s: float = 0.0


def batch_world(plan: BatchPlan, rng: np.random.Generator) -> BatchWorld:
    """Draw a world. Step powers vary by `ripple`, durations by `spread`; decode power drifts by `decode_drift` within a batch."""
    t, begin = ORIGIN_S + plan.idle_s, ORIGIN_S + plan.idle_s
    edges, watts = [ORIGIN_S], [plan.idle_w]
    spans: dict[str, list[tuple[float, float]]] = {"prefill": [], "decode": [], "idle": []}
    steps: list[tuple[float, float, int, int]] = []
    members: list[list[tuple[int, int, int, int, int]]] = []
    who: list[tuple[int, float, float, float]] = []
    for batch in range(plan.batches):
        requests = [batch * plan.batch_size + k for k in range(plan.batch_size)]
        gap = plan.gap_s * rng.uniform(0.5, 1.5)
        t = _stretch(edges, watts, spans["idle"], t, gap, plan.gap_w)
        sent, tokens = t, rng.integers(50, 200, plan.batch_size)
        length = plan.prefill_s * (1 + plan.spread * rng.uniform(-1, 1))
        steps.append((t, t + length, int(tokens.sum()), 0))
        members.append([(r, int(n), 0, 1, 0) for r, n in zip(requests, tokens, strict=True)])
        t = _stretch(edges, watts, spans["prefill"], t, length, plan.prefill_w * (1 + plan.ripple * rng.normal()))
        first = t
        for k in range(_decodes(plan, rng)):
            length = plan.decode_step_s * (1 + 0.1 * rng.uniform(-1, 1))
            power = plan.decode_w * (1 + plan.ripple * rng.normal() + plan.decode_drift * (k / plan.decode_steps - 0.5))
            steps.append((t, t + length, 0, plan.batch_size))
            members.append([(r, 0, 1, 1, 100 + k) for r in requests])
            t = _stretch(edges, watts, spans["decode"], t, length, power)
        who += [(r, sent, first, t) for r in requests]
    end = t
    edges.append(end)
    watts.append(plan.idle_w)
    trace = PowerTrace(np.array([*edges, end + plan.idle_s]), np.array(watts))
    truth = {phase: trace.within(np.array(rows).reshape(-1, 2)) for phase, rows in spans.items()}
    truth["total"] = trace.between(begin, end)
    run = MemoryRun(
        run_id="world",
        manifest={"clock": {"virtual": False}, "load": {"shape": "static"}},
        windows=[
            _window("idle_loaded_before", ORIGIN_S, begin),
            _window("measure", begin, end),
            _window("idle_loaded_after", end, end + plan.idle_s),
        ],
        tables={"steps": _steps(steps), "requests": _requests(who, members)},
        members=members_of(members),
    )
    return BatchWorld(run, trace, truth, _requests_truth(trace, steps, members), ORIGIN_S - 0.5, end + plan.idle_s + 2.0)


def _decodes(plan: BatchPlan, rng: np.random.Generator) -> int:
    return max(int(plan.decode_steps * (1 + plan.spread * rng.uniform(-1, 1))), 1) if plan.decode_steps else 0


def gpu_channel(kind: str, **keys: Any) -> Channel:
    """A channel of the world's device, `n0/gpu0/<kind>`."""
    unit = "J" if kind == "energy_counter" else "W"
    defaults: dict[str, Any] = {"gain_u_rel": 0.037, "offset_u_w": 5.9, "sensor": "GPU-0", "parent": "n0", "device": "GPU-0"}
    return Channel(f"n0/gpu0/{kind}", "n0/gpu0", "gpu", kind, unit, "measured", **{**defaults, **keys})


def _stretch(edges: list[float], watts: list[float], spans: list[tuple[float, float]], t: float, length: float, power: float) -> float:
    edges.append(t)
    watts.append(power)
    spans.append((t, t + length))
    return t + length


def _window(name: str, t0_s: float, t1_s: float) -> Window:
    return Window(name, _ns(t0_s), _ns(t1_s))


def _ns(t_s: float) -> int:
    return round(t_s * 1e9)


def _steps(steps: list[tuple[float, float, int, int]]) -> dict[str, Any]:
    table = np.array(steps)
    return {
        "step": np.arange(len(table)),
        "t0_ns": np.round(table[:, 0] * 1e9).astype(np.int64),
        "t1_ns": np.round(table[:, 1] * 1e9).astype(np.int64),
        "prefill_tokens": table[:, 2].astype(np.int32),
        "decode_tokens": table[:, 3].astype(np.int32),
    }


def _requests(who: list[tuple[int, float, float, float]], members: list[list[tuple[int, int, int, int, int]]]) -> dict[str, Any]:
    stamps = np.round(np.array([row[1:] for row in who]) * 1e9).astype(np.int64)
    ordinal = np.array([row[0] for row in who])
    emitted, computed = np.zeros(len(who), np.int64), np.zeros(len(who), np.int64)
    for row in members:
        for request, prefill, _, out, _ in row:
            emitted[request] += out
            computed[request] += prefill
    return {
        "request": ordinal, "status": np.full(len(who), "ok"), "due_ns": stamps[:, 0], "submitted_ns": stamps[:, 0],
        "first_token_ns": stamps[:, 1], "finished_ns": stamps[:, 2], "input_tokens": computed, "output_tokens": emitted,
    }  # fmt: skip


def _requests_truth(
    trace: PowerTrace, steps: list[tuple[float, float, int, int]], members: list[list[tuple[int, int, int, int, int]]]
) -> dict[int, dict[str, float]]:
    truth: dict[int, dict[str, float]] = {}
    for (t0, t1, prefill, decode), row in zip(steps, members, strict=True):
        joules = trace.between(t0, t1)
        for request, computed, decoded, _, _ in row:
            mine = truth.setdefault(request, {"prefill": 0.0, "decode": 0.0})
            mine["prefill"] += joules * computed / prefill if prefill else 0.0
            mine["decode"] += joules * decoded / decode if decode else 0.0
    return truth
