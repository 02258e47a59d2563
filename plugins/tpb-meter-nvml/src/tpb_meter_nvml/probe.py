"""What a board offers: the energy counter and power readings by field and scope, each asked for once, with its own return code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tpb_core.api.clock import Clock

ENERGY, AVERAGE, INSTANT = 83, 185, 186
GPU, MODULE, MEMORY = 0, 1, 2
"""Scopes of `nvmlFieldValue_t.scopeId`."""
USAGE = 0
"""Stands for `nvmlDeviceGetPowerUsage` where a driver knows no power fields."""

QUESTIONS = ((ENERGY, GPU), (INSTANT, GPU), (AVERAGE, GPU), (INSTANT, MODULE), (AVERAGE, MODULE), (INSTANT, MEMORY), (AVERAGE, MEMORY))
TRIES = 3
PAUSE_NS = 60_000_000
"""Some drivers answer "not supported" when they are asked too fast, so an answer of no is asked for again."""


@dataclass(frozen=True)
class Offer:
    """`fields` are the (field, scope) pairs that answered; `counter_call` and `usage_call` the functions that stand in for fields."""

    fields: frozenset[tuple[int, int]]
    refusals: dict[tuple[int, int], str]
    counter_call: bool = False
    usage_call: bool = False

    @property
    def has_counter(self) -> bool:
        """Whether there is an energy counter, as a field or as a function."""
        return self.counter_call or (ENERGY, GPU) in self.fields

    @property
    def is_module(self) -> bool:
        """Whether the device is part of a module of CPU and GPU: the driver then knows module power, and counts the module's energy."""
        return (INSTANT, MODULE) in self.fields or (AVERAGE, MODULE) in self.fields


def probe(nvml: Any, handles: Mapping[str, Any], clock: Clock) -> dict[str, Offer]:
    """What each board offers, by UUID. A board that is lost meanwhile offers nothing."""
    refused = {uuid: dict.fromkeys(QUESTIONS, "not asked") for uuid in handles}
    for attempt in range(TRIES):
        if attempt:
            clock.sleep_until(clock.now_ns() + PAUSE_NS)
        refused = {uuid: _ask(nvml, handles[uuid], tuple(refusals)) for uuid, refusals in refused.items()}
        if not any(refused.values()):
            break
    return {uuid: _offer(nvml, handles[uuid], refusals) for uuid, refusals in refused.items()}


def _offer(nvml: Any, handle: Any, refusals: dict[tuple[int, int], str]) -> Offer:
    fields = frozenset(question for question in QUESTIONS if question not in refusals)
    counter_call = (ENERGY, GPU) in refusals and _works(nvml, nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    no_power = not fields & {(INSTANT, GPU), (AVERAGE, GPU), (INSTANT, MODULE)}
    return Offer(fields, refusals, counter_call, no_power and _works(nvml, nvml.nvmlDeviceGetPowerUsage, handle))


def _ask(nvml: Any, handle: Any, questions: tuple[tuple[int, int], ...]) -> dict[tuple[int, int], str]:
    """Those of the questions that were refused, with the driver's word for it."""
    if not questions:
        return {}
    try:
        rows = nvml.nvmlDeviceGetFieldValues(handle, list(questions))
    except nvml.NVMLError as error:
        return dict.fromkeys(questions, str(error))
    return {question: str(nvml.NVMLError(row.nvmlReturn)) for question, row in zip(questions, rows, strict=True) if row.nvmlReturn}


def _works(nvml: Any, call: Any, handle: Any) -> bool:
    try:
        return bool(call(handle) >= 0)
    except nvml.NVMLError:
        return False
