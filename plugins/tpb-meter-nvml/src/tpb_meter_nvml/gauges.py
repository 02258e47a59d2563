"""Context of the energy figures, once a second: temperature, clocks, throttle reasons, power limit, utilisation, and what a read costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tpb_core.api import Channel, EventCode, Reading
from tpb_core.api.clock import Clock
from tpb_core.api.faults import Faults
from tpb_meter_nvml.board import Board

HEAT_AND_BRAKE = {0x8: "hardware slowdown", 0x20: "software thermal slowdown", 0x40: "hardware thermal slowdown", 0x80: "power brake"}
"""Bits of the clocks-event reasons that make a run's figures questionable."""

GAUGES = (
    ("temperature", "gauge", "degC"),
    ("clock_sm", "gauge", "MHz"),
    ("clock_memory", "gauge", "MHz"),
    ("throttle_reasons", "bitmask", "1"),
    ("power_limit", "gauge", "W"),
    ("utilisation", "gauge", "%"),
    ("utilisation_memory", "gauge", "%"),
    ("read_latency", "gauge", "us"),
)


class BoardGauges:
    """The gauges of one board. One that the board refuses when they are first read is not asked for again."""

    def __init__(self, nvml: Any, board: Board, node: str, clock: Clock, faults: Faults) -> None:
        self._nvml, self._clock, self._faults = nvml, clock, faults
        self._prefix = f"{node}/gpu{board.index}"
        self._board, self._node = board, node
        self._refused: set[str] = set()
        self._throttled = 0
        self.latency_us: Callable[[], int | None] = lambda: None

    def channels(self, handle: Any, *, module: bool) -> list[Channel]:
        """Those gauges that answer."""
        self._read(handle)
        parent = f"{self._node}/module{self._board.index}" if module else self._node
        return [
            Channel(
                channel=f"{self._prefix}/{name}",
                domain=self._prefix,
                parent=parent,
                scope="gpu",
                kind=kind,
                unit=unit,
                evidence="measured",
                node=self._node,
                meter="nvml",
                device=self._board.uuid,
                sensor=self._board.uuid,
                update_ms=1000.0,
            )
            for name, kind, unit in GAUGES
            if name not in self._refused
        ]

    def read(self, handle: Any) -> list[Reading]:
        """One reading a gauge, and the event `throttled` when heat or a brake begins to lower the clocks."""
        readings = self._read(handle)
        for reading in readings:
            if reading.channel.endswith("/throttle_reasons"):
                self._watch(int(reading.value))
        return readings

    def _questions(self, handle: Any) -> list[tuple[tuple[str, ...], Callable[[], tuple[float | None, ...]]]]:
        nvml = self._nvml
        return [
            (("temperature",), lambda: (self._temperature(handle),)),
            (("clock_sm",), lambda: (nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),)),
            (("clock_memory",), lambda: (nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),)),
            (("throttle_reasons",), lambda: (self._reasons(handle),)),
            (("power_limit",), lambda: (nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,)),
            (("utilisation", "utilisation_memory"), lambda: self._utilisation(handle)),
            (("read_latency",), lambda: (self.latency_us(),)),
        ]

    def _read(self, handle: Any) -> list[Reading]:
        nvml, readings = self._nvml, []
        for names, question in self._questions(handle):
            if names[0] in self._refused:
                continue
            before_ns = self._clock.now_ns()
            try:
                values = question()
            except (nvml.NVMLError_NotSupported, nvml.NVMLError_FunctionNotFound, nvml.NVMLError_NoPermission):
                self._refused.update(names)
                continue
            after_ns = self._clock.now_ns()
            readings += [
                Reading(f"{self._prefix}/{name}", before_ns, after_ns, float(value))
                for name, value in zip(names, values, strict=True)
                if value is not None
            ]
        return readings

    def _temperature(self, handle: Any) -> float:
        """The newer call first: the older one is to be removed from the library."""
        nvml = self._nvml
        if hasattr(nvml, "nvmlDeviceGetTemperatureV"):
            try:
                return float(nvml.nvmlDeviceGetTemperatureV(handle, nvml.NVML_TEMPERATURE_GPU))
            except nvml.NVMLError_FunctionNotFound:
                pass
        return float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))

    def _reasons(self, handle: Any) -> float:
        nvml = self._nvml
        if hasattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons"):
            try:
                return float(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
            except nvml.NVMLError_FunctionNotFound:
                pass
        return float(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))

    def _utilisation(self, handle: Any) -> tuple[float, float]:
        rates = self._nvml.nvmlDeviceGetUtilizationRates(handle)
        return float(rates.gpu), float(rates.memory)

    def _watch(self, reasons: int) -> None:
        begun = [word for bit, word in HEAT_AND_BRAKE.items() if reasons & bit and not self._throttled & bit]
        self._throttled = reasons
        if begun:
            self._faults.happened(EventCode.THROTTLED, f"{self._prefix}/throttle_reasons", ", ".join(begun))
