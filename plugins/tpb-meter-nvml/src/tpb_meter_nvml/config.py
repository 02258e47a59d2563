"""Options of the NVML meter."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.api import MeterConfig, option


@dataclass
class NvmlConfig(MeterConfig):
    """Options of the NVML meter."""

    name: str = option("nvml", help="entry-point name of the meter")
    interval_ms: float = option(
        50.0, help="time between two readings: half the usual refresh; below 50 ms some drivers answer with errors and zeros", unit="ms"
    )
    devices: str = option(
        "auto",
        help="GPUs of the run: `auto` as the engine's CUDA_VISIBLE_DEVICES says, `all`, or a list of indices (as nvidia-smi) and UUIDs",
    )
    mig: str = option(
        "refuse",
        help="a slice (MIG) has no power reading of its own. `refuse`: no figure for it; `share`: the board's, by its share of slices",
        choices=("refuse", "share"),
    )
    gauge_interval_ms: float = option(
        1000.0, help="time between readings of temperature, clocks, throttle reasons, power limit, utilisation", unit="ms"
    )
    characterise_s: float = option(3.0, help="most time spent at start on finding the refresh period; 0 is off", unit="s")
    journal: str = option("", help="folder of the notes from which settings are restored (default: the user's state folder)")
