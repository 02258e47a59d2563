"""Stand-in for amdsmi 7.0.2: names, signatures, keys, units and errors of the calls that a meter makes."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Any

from tpb_core.testing.amdsmi_double.machine import ABSENT, AmdGpu, AmdMachine

processor_handle = ctypes.c_void_p
NOT_SUPPORTED, NOT_INITIALISED = 2, 32


class AmdSmiInitFlags(IntEnum):
    INIT_ALL_PROCESSORS = 0xFFFFFFFF
    INIT_AMD_CPUS = 1
    INIT_AMD_GPUS = 2


class AmdSmiClkType(IntEnum):
    SYS = 0
    GFX = 0
    DF = 1
    MEM = 4


class AmdSmiTemperatureType(IntEnum):
    EDGE = 0
    HOTSPOT = 1
    JUNCTION = 1
    VRAM = 2


class AmdSmiTemperatureMetric(IntEnum):
    CURRENT = 0
    MAX = 1


class AmdSmiException(Exception):
    pass


class AmdSmiLibraryException(AmdSmiException):
    def __init__(self, err_code: int) -> None:
        super().__init__(abs(err_code))
        self.err_code = abs(err_code)

    def __str__(self) -> str:
        return f"Error code:\n\t{self.err_code} | status {self.err_code}"

    def get_error_code(self) -> int:
        return self.err_code


class AmdSmiParameterException(AmdSmiException):
    pass


_initialised = 0


def amdsmi_init(flag: AmdSmiInitFlags = AmdSmiInitFlags.INIT_AMD_GPUS) -> None:
    global _initialised
    if not isinstance(flag, AmdSmiInitFlags):
        raise AmdSmiParameterException(flag, AmdSmiInitFlags)
    if _machine().status:
        raise AmdSmiLibraryException(_machine().status)
    _initialised += 1


def amdsmi_shut_down() -> None:
    global _initialised
    if not _initialised:
        raise AmdSmiLibraryException(NOT_INITIALISED)
    _initialised -= 1


def _machine() -> AmdMachine:
    assert AmdMachine.current is not None
    return AmdMachine.current


def _gpu(handle: processor_handle, call: str) -> AmdGpu:
    if not isinstance(handle, processor_handle):
        raise AmdSmiParameterException(handle, processor_handle)
    if not _initialised:
        raise AmdSmiLibraryException(NOT_INITIALISED)
    gpu = _machine().gpus[int(handle.value or 0) - 1]
    if gpu.fails == call:
        raise AmdSmiLibraryException(NOT_SUPPORTED)
    return gpu


def amdsmi_get_processor_handles() -> list[processor_handle]:
    return [processor_handle(number + 1) for number in range(len(_machine().gpus))]


def amdsmi_get_gpu_device_uuid(processor_handle: processor_handle) -> str:
    return _gpu(processor_handle, "amdsmi_get_gpu_device_uuid").uuid


def amdsmi_get_gpu_device_bdf(processor_handle: processor_handle) -> str:
    _gpu(processor_handle, "amdsmi_get_gpu_device_bdf")
    return f"0000:{int(processor_handle.value or 0):02x}:00.0"


def amdsmi_get_gpu_enumeration_info(processor_handle: processor_handle) -> dict[str, Any]:
    gpu = _gpu(processor_handle, "amdsmi_get_gpu_enumeration_info")
    hip = "N/A" if gpu.hip_id is None else gpu.hip_id
    return {"drm_render": 128, "drm_card": 0, "hsa_id": 1, "hip_id": hip, "hip_uuid": f"GPU-{gpu.uuid}"}


def amdsmi_get_gpu_asic_info(processor_handle: processor_handle) -> dict[str, Any]:
    gpu = _gpu(processor_handle, "amdsmi_get_gpu_asic_info")
    return {"market_name": gpu.model, "vendor_id": 0x1002, "asic_serial": gpu.serial or "N/A", "oam_id": "N/A", "num_compute_units": 304}


def amdsmi_get_gpu_driver_info(processor_handle: processor_handle) -> dict[str, Any]:
    gpu = _gpu(processor_handle, "amdsmi_get_gpu_driver_info")
    return {"driver_name": "amdgpu", "driver_version": gpu.driver, "driver_date": "2015/01/01 00:00"}


def amdsmi_get_energy_count(processor_handle: processor_handle) -> dict[str, Any]:
    gpu = _gpu(processor_handle, "amdsmi_get_energy_count")
    if not gpu.has_counter:
        raise AmdSmiLibraryException(NOT_SUPPORTED)
    resolution = ctypes.c_float(gpu.resolution_uj).value
    return {"energy_accumulator": _machine().counts(gpu), "counter_resolution": resolution, "timestamp": _machine().now_ns()}


def amdsmi_get_power_info(processor_handle: processor_handle) -> dict[str, Any]:
    gpu = _gpu(processor_handle, "amdsmi_get_power_info")
    watts = _machine().power_w(gpu)
    current = watts if gpu.power == "current" else "N/A"
    average = watts if gpu.power == "average" else ABSENT
    return {
        "socket_power": watts if gpu.power != "none" else 0,
        "current_socket_power": current if gpu.power != "none" else "N/A",
        "average_socket_power": average if gpu.power != "none" else 0,
        "gfx_voltage": "N/A",
        "soc_voltage": "N/A",
        "mem_voltage": "N/A",
        "power_limit": 750,
    }


def amdsmi_get_power_cap_info(processor_handle: processor_handle) -> dict[str, Any]:
    _gpu(processor_handle, "amdsmi_get_power_cap_info")
    return {"power_cap": 750000000, "default_power_cap": 750000000, "dpm_cap": 2100, "min_power_cap": 0, "max_power_cap": 750000000}


def amdsmi_get_temp_metric(processor_handle: processor_handle, sensor_type: AmdSmiTemperatureType, metric: AmdSmiTemperatureMetric) -> int:
    _gpu(processor_handle, "amdsmi_get_temp_metric")
    return 61


def amdsmi_get_clock_info(processor_handle: processor_handle, clock_type: AmdSmiClkType) -> dict[str, Any]:
    _gpu(processor_handle, "amdsmi_get_clock_info")
    return {
        "clk": 2100 if clock_type == AmdSmiClkType.GFX else 1300,
        "min_clk": 500,
        "max_clk": 2100,
        "clk_locked": False,
        "clk_deep_sleep": 0,
    }


def amdsmi_get_gpu_activity(processor_handle: processor_handle) -> dict[str, Any]:
    _gpu(processor_handle, "amdsmi_get_gpu_activity")
    return {"gfx_activity": 97, "umc_activity": 41, "mm_activity": "N/A"}


def amdsmi_get_gpu_process_list(processor_handle: processor_handle) -> list[dict[str, Any]]:
    gpu = _gpu(processor_handle, "amdsmi_get_gpu_process_list")
    return [{"name": "N/A", "pid": pid, "mem": 2**30, "engine_usage": {}, "memory_usage": {}} for pid in gpu.processes]
