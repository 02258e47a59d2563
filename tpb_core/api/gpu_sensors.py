"""What is known of the power sensors in GPUs: averaging window, refresh period, gain. One table, each row with its source.

A model that is in no row gets no figure: `averaging_ms` stays null, and its phases stay NULL with `averaging_unknown` until somebody
characterises the sensor.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

RAW_DATA = "GPU_Power_Benchmark (JimZeyuYang), raw data reanalysed"
PAPER = "arXiv 2312.02741"
NVML_HEADER = "nvml.h: power usage and field 185 are averaged over 1 s on Ampere (except GA100) and newer"
RMRUSD = "open-gpu-kernel-modules nvrm_registry.h: polling every 100 ms on data-centre boards, 500 ms on others"


@dataclass(frozen=True)
class Timing:
    """A reading is the mean over the last `averaging_ms`, refreshed every `update_ms`; None: not known. `u`: standard uncertainties."""

    averaging_ms: float | None
    averaging_u_ms: float | None
    update_ms: float | None
    update_u_ms: float | None
    source: str


@dataclass(frozen=True)
class Gain:
    """Prior of a sensor's gain and offset errors (standard uncertainties), from a sample of cards of the class."""

    gain_u_rel: float
    offset_u_w: float
    common_r: float
    source: str


@dataclass(frozen=True)
class SensorClass:
    """Models whose sensors behave alike. `pattern` is searched in the driver's model name."""

    name: str
    pattern: str
    instant: Timing
    gain: Gain | None = None


def _half(width: float) -> float:
    """Standard uncertainty of a rectangle of this half width."""
    return width / math.sqrt(3)


GEFORCE_GAIN = Gain(0.037, 5.9, 0.4, f"{RAW_DATA}: 19 cards of one laboratory, mostly GeForce; sd of gain 3.7 %, of offset 5.9 W")

SENSOR_CLASSES: tuple[SensorClass, ...] = (
    SensorClass("v100", r"\bV100\b", Timing(15.0, _half(5.0), 20.0, 1.0, f"{RAW_DATA}: refresh 20 ms; window 10 to 20 ms")),
    SensorClass("a100", r"\bA100\b", Timing(25.0, _half(1.5), 100.0, 1.0, f"{RAW_DATA}: refresh 101 ms, window 24.5 to 26.8 ms (median)")),
    SensorClass(
        "h100", r"(?<!G)\bH100\b", Timing(25.0, _half(5.0), 100.0, 1.0, f"{PAPER}: a quarter of each 100 ms is sampled (abstract)")
    ),
    SensorClass(
        "geforce-ampere",
        r"GeForce RTX 30\d\d",
        Timing(100.0, _half(10.0), 100.0, 1.0, f"{RAW_DATA}: RTX 3090, instantaneous reading"),
        GEFORCE_GAIN,
    ),
    SensorClass(
        "geforce-ada",
        r"GeForce RTX 40\d\d",
        Timing(100.0, _half(20.0), None, None, f"survey of {PAPER}'s data, window as on GA10x; refresh is the driver's ({RMRUSD})"),
        GEFORCE_GAIN,
    ),
)

AVERAGE = Timing(1000.0, _half(50.0), 100.0, 29.0, NVML_HEADER)
"""Field 185, and `nvmlDeviceGetPowerUsage` on Ampere (except GA100) and newer, whatever the model."""

UNKNOWN = Timing(None, None, None, None, "no published data for this model")


def sensor_class_of(model: str) -> SensorClass | None:
    """The class of a model by its name as the driver gives it; None where nothing was published."""
    return next((row for row in SENSOR_CLASSES if re.search(row.pattern, model)), None)


def instant_timing_of(model: str) -> Timing:
    """Timing of the instantaneous power reading (NVML field 186, DCGM field 157) of a model."""
    found = sensor_class_of(model)
    return found.instant if found else UNKNOWN


INSTANT_USAGE = r"\b(A100|A800|A30|V100|P100|P40|P4|T4)\b|RTX 20\d\d|GTX|TITAN|Quadro"
AVERAGE_USAGE = (
    r"\b(H100|H200|H800|H20|B100|B200|B300|GH200|GB200|GB300|L4|L40S?|L20|A2|A10G?|A16|A40)\b|RTX [345]0\d\d|RTX A\d000|RTX \d000 Ada"
)


def usage_timing_of(model: str) -> Timing:
    """Timing of `nvmlDeviceGetPowerUsage` and DCGM field 155 where only the model's name is known: instantaneous on GA100 and older."""
    if re.search(INSTANT_USAGE, model):
        return instant_timing_of(model)
    return AVERAGE if re.search(AVERAGE_USAGE, model) else UNKNOWN


SUPERCHIP = r"\b(GH200|GB200|GB300)\b"
"""Models whose energy counter covers a module of CPU, GPU and memory."""


def counts_a_module(model: str) -> bool:
    """Whether the energy counter of this model is a module's (source: zeus#172, k8s-test-infra#676)."""
    return re.search(SUPERCHIP, model) is not None
