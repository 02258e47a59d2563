"""The DCGM fields that this meter reads: number, tag, what the channel is called, and what one unit is in the channel's unit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """A field. `entity` is `gpu` or `cpu`; `whole` says that values are whole numbers, whose blanks have other sentinels."""

    number: int
    tag: str
    suffix: str
    kind: str
    unit: str
    entity: str = "gpu"
    scale: float = 1.0
    whole: bool = False


ENERGY = Field(156, "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "dcgm_energy", "energy_counter", "J", scale=0.001, whole=True)
INSTANT = Field(157, "DCGM_FI_DEV_POWER_USAGE_INSTANT", "dcgm_power", "power", "W")
USAGE = Field(155, "DCGM_FI_DEV_POWER_USAGE", "dcgm_power_usage", "power", "W")
LEDGER = (ENERGY, INSTANT, USAGE)

GAUGES = (
    Field(150, "DCGM_FI_DEV_GPU_TEMP", "dcgm_temperature", "gauge", "degC", whole=True),
    Field(100, "DCGM_FI_DEV_SM_CLOCK", "dcgm_clock_sm", "gauge", "MHz", whole=True),
    Field(101, "DCGM_FI_DEV_MEM_CLOCK", "dcgm_clock_memory", "gauge", "MHz", whole=True),
    Field(112, "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", "dcgm_throttle_reasons", "bitmask", "1", whole=True),
)
PROFILING = (
    Field(1001, "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "dcgm_engine_active", "gauge", "1"),
    Field(1002, "DCGM_FI_PROF_SM_ACTIVE", "dcgm_sm_active", "gauge", "1"),
    Field(1003, "DCGM_FI_PROF_SM_OCCUPANCY", "dcgm_sm_occupancy", "gauge", "1"),
    Field(1004, "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "dcgm_tensor_active", "gauge", "1"),
    Field(1005, "DCGM_FI_PROF_DRAM_ACTIVE", "dcgm_dram_active", "gauge", "1"),
)
CPU_POWER = Field(1130, "DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT", "dcgm_power", "power", "W", "cpu")
CPU_LIMIT = Field(1131, "DCGM_FI_DEV_CPU_POWER_LIMIT", "dcgm_power_limit", "gauge", "W", "cpu")
SYSIO_POWER = Field(1132, "DCGM_FI_DEV_SYSIO_POWER_UTIL_CURRENT", "dcgm_power", "power", "W", "cpu")
MODULE_POWER = Field(1133, "DCGM_FI_DEV_MODULE_POWER_UTIL_CURRENT", "dcgm_power", "power", "W", "cpu")
GRACE = (CPU_POWER, CPU_LIMIT, SYSIO_POWER, MODULE_POWER)

NEWER_TAGS = {
    "DCGM_FI_DEV_BOARD_POWER_WATTS": USAGE,
    "DCGM_FI_DEV_BOARD_POWER_RAW_WATTS": INSTANT,
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": GAUGES[3],
}
"""Names that DCGM 4.6 gives to some fields; the older ones stay as aliases."""
BY_TAG = {field.tag: field for field in (*LEDGER, *GAUGES, *PROFILING, *GRACE)} | NEWER_TAGS


def wanted(*, profiling: bool, grace: bool) -> tuple[Field, ...]:
    """The fields to ask for."""
    return (*LEDGER, *GAUGES, *(PROFILING if profiling else ()), *(GRACE if grace else ()))
