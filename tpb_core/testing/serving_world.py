"""A small server under continuous batching with chunked prefill, whose cost of every step, whole or in part, is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tpb_core.api import Window
from tpb_core.testing.memory_run import MemoryRun, members_of
from tpb_core.testing.power_world import PowerTrace

Floats = npt.NDArray[np.float64]
Cost = Callable[[Floats, Floats, Floats, Floats], tuple[Floats, Floats]]
"""(prefill tokens, decode tokens, KV tokens of decode, query-key pairs of prefill) -> (seconds, joules above static power)."""

ORIGIN_S = 1000.0
STATIC_W = 120.0


def affine(prefill: Floats, decode: Floats, kv: Floats, pairs: Floats) -> tuple[Floats, Floats]:
    """Linear in the work: the family that `steps` fits."""
    busy = ((prefill + decode) > 0).astype(float)
    return 0.018 * busy + 120e-6 * prefill + 1e-4 * decode + 2e-7 * kv, 3.4 * busy + 0.064 * prefill + 0.15 * decode + 2.5e-4 * kv


def roofline(prefill: Floats, decode: Floats, kv: Floats, pairs: Floats) -> tuple[Floats, Floats]:
    """The larger of memory and compute time; energy by bytes and operations. Outside the fitted family."""
    busy = ((prefill + decode) > 0).astype(float)
    read, flops = 16e9 * busy + 131072.0 * kv, 16e9 * (prefill + decode) + 524288.0 * (pairs + kv)
    return (np.maximum(read / 0.8e12, flops / 1.2e14) + 0.6e-3 * busy), 80e-12 * read + 1.1e-12 * flops


def power_cap(prefill: Floats, decode: Floats, kv: Floats, pairs: Floats) -> tuple[Floats, Floats]:
    """Affine until the device would draw more than 420 W; then steps are stretched. Outside the fitted family."""
    seconds, joules = affine(prefill, decode, kv, pairs)
    return np.maximum(seconds, joules / (420.0 - STATIC_W)), joules


@dataclass(frozen=True)
class ServingWorld:
    """The run without samples, its power, and the true joules of `measure` by (rule, phase) and by request under shapley."""

    run: MemoryRun
    trace: PowerTrace
    truth: dict[tuple[str, str], float]
    read_from_s: float
    read_to_s: float


def serving_world(cost: Cost, rng: np.random.Generator, requests: int = 200, slots: int = 12, chunk: int = 512) -> ServingWorld:
    """Run `requests` through a closed loop with `slots` users; lengths are lognormal; at most `chunk` prompt tokens a step."""
    prompts = np.clip(rng.lognormal(5.7, 0.6, requests), 16, 2000).astype(int)
    outputs = np.clip(rng.lognormal(4.2, 0.6, requests), 2, 400).astype(int)
    waiting = list(range(requests))
    running: dict[int, list[int]] = {}  # request -> [prompt tokens done, tokens out]
    work: list[tuple[int, int, int, float, int]] = []
    members: list[list[tuple[int, int, int, int, int]]] = []
    while waiting or running:
        while waiting and len(running) < slots:
            running[waiting.pop(0)] = [0, 0]
        room, row = chunk, []
        for request, state in list(running.items()):
            if state[0] < prompts[request]:
                take = min(room, int(prompts[request]) - state[0])
                if take == 0:
                    continue
                last = state[0] + take == prompts[request]
                row.append((request, take, 0, int(last), state[0]))
                room, state[0], state[1] = room - take, state[0] + take, int(last)
            else:
                row.append((request, 0, 1, 1, int(prompts[request]) + state[1] - 1))
                state[1] += 1
            if state[1] >= outputs[request]:
                del running[request]
        members.append(row)
        pairs = sum(m[1] * (m[4] + (m[1] + 1) / 2) for m in row)
        kv = sum(m[4] for m in row if m[2])
        work.append((sum(m[1] for m in row), sum(m[2] for m in row), kv, pairs, sum(m[4] for m in row if m[1])))
    table = np.array(work, float)
    return _world(cost, table, members, prompts, outputs, rng)


def _world(cost: Cost, table: Floats, members: list[Any], prompts: Any, outputs: Any, rng: np.random.Generator) -> ServingWorld:
    p, d, kv, pairs, prefill_kv = table.T
    none = np.zeros_like(p)
    gross = {}
    for name, part in (("whole", (p, d, kv, pairs)), ("prefill", (p, none, none, pairs)), ("decode", (none, d, kv, none))):
        seconds, joules = cost(*part)
        gross[name] = joules + STATIC_W * seconds
        if name == "whole":
            duration = seconds
    begin = ORIGIN_S + 4.0
    edge = begin + np.concatenate([[0.0], np.cumsum(duration)])
    end = float(edge[-1])
    trace = PowerTrace(np.array([ORIGIN_S, *edge, end + 4.0]), np.array([STATIC_W, *(gross["whole"] / duration), STATIC_W]))
    mixed = (p > 0) & (d > 0)
    ruled = {
        "shapley": 0.5 * (gross["prefill"] + gross["whole"] - gross["decode"]),
        "incremental": gross["whole"] - gross["decode"],
        "token": gross["whole"] * p / np.maximum(p + d, 1),
    }
    truth = {("any", "total"): float(gross["whole"].sum())}
    for rule, part in ruled.items():
        prefill = np.where(mixed, part, np.where(p > 0, gross["whole"], 0.0))
        truth[rule, "prefill"], truth[rule, "decode"] = float(prefill.sum()), float((gross["whole"] - prefill).sum())
    ns = np.round(edge * 1e9).astype(np.int64)
    first, last = np.zeros(len(prompts), np.int64), np.zeros(len(prompts), np.int64)
    for k, row in enumerate(members):
        for request, *_ in row:
            first[request] = first[request] or ns[k]
            last[request] = ns[k + 1]
    steps = {
        "step": np.arange(len(p)), "t0_ns": ns[:-1], "t1_ns": ns[1:], "prefill_tokens": p.astype(np.int32),
        "decode_tokens": d.astype(np.int32), "kv_tokens": kv.astype(np.int64), "prefill_kv_tokens": prefill_kv.astype(np.int64),
    }  # fmt: skip
    requests = {
        "request": np.arange(len(prompts)), "status": np.full(len(prompts), "ok"), "submitted_ns": first, "finished_ns": last,
        "due_ns": first, "input_tokens": prompts, "output_tokens": outputs,
    }  # fmt: skip
    windows = [
        Window("idle_loaded_before", round(ORIGIN_S * 1e9), round(begin * 1e9)),
        Window("measure", round(begin * 1e9), int(ns[-1])),
        Window("idle_loaded_after", int(ns[-1]), int(ns[-1]) + 4 * 10**9),
    ]
    run = MemoryRun("serving", {}, [], windows, {}, {"steps": steps, "requests": requests}, members_of(members))
    return ServingWorld(run, trace, truth, ORIGIN_S - 0.5, end + 6.0)
