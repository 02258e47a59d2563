"""How the sensors of some GPU models behave: averaging window, refresh period, what the driver offers. One table, for doubles only.

The figures are those published for the models (see `tpb_core.api.gpu_sensors` for sources); GH200's window is an assumption, made so
that module scope can be tested.
"""

from __future__ import annotations

from dataclasses import dataclass

VOLTA, AMPERE, ADA, HOPPER = 5, 7, 8, 9
"""Architecture codes of `nvmlDeviceGetArchitecture`."""


@dataclass(frozen=True)
class SensorModel:
    """One sensor: trailing boxcar of `window_ms`, refreshed every `refresh_ms`; the same for the average and the energy counter.

    `average_window_ms` 0 means that field 185 is not offered; `power_usage_is_average` says what `nvmlDeviceGetPowerUsage` returns.
    """

    name: str
    architecture: int
    cuda: tuple[int, int]
    window_ms: float
    refresh_ms: float
    average_window_ms: float
    counter_refresh_ms: float
    power_usage_is_average: bool
    limits_w: tuple[float, float, float]
    """Lowest, highest and default power limit."""
    module: bool = False
    """The counter and scope 1 are those of a module (CPU, GPU and memory)."""
    mig_slices: int = 0


SENSORS: dict[str, SensorModel] = {
    "v100": SensorModel("Tesla V100-SXM2-32GB", VOLTA, (7, 0), 15, 20, 0, 20, False, (150, 300, 300)),
    "a100": SensorModel("NVIDIA A100-SXM4-80GB", AMPERE, (8, 0), 25, 100, 0, 100, False, (100, 400, 400), mig_slices=7),
    "h100": SensorModel("NVIDIA H100 80GB HBM3", HOPPER, (9, 0), 25, 100, 1000, 100, True, (200, 700, 700), mig_slices=7),
    "gh200": SensorModel("NVIDIA GH200 480GB", HOPPER, (9, 0), 25, 100, 1000, 100, True, (300, 1000, 900), module=True, mig_slices=7),
    "rtx3090": SensorModel("NVIDIA GeForce RTX 3090", AMPERE, (8, 6), 100, 100, 1000, 100, True, (100, 385, 350)),
    "rtx4090": SensorModel("NVIDIA GeForce RTX 4090", ADA, (8, 9), 100, 500, 1000, 500, True, (150, 600, 450)),
}
