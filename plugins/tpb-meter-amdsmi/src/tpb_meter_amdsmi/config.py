"""Options of the amdsmi meter."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.api import MeterConfig, option


@dataclass
class AmdsmiConfig(MeterConfig):
    """Options of the amdsmi meter."""

    name: str = option("amdsmi", help="entry-point name of the meter")
    interval_ms: float = option(50.0, help="time between two readings", unit="ms")
    devices: str = option(
        "auto", help="GPUs of the run: `auto` as ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES say, `all`, or a list of indices and UUIDs"
    )
    partial: str = option(
        "refuse",
        help="where the run uses only some of the dies or partitions behind one sensor. `refuse`: no figure; `share`: by their number",
        choices=("refuse", "share"),
    )
    check_s: float = option(1.0, help="time at start in which energy counters are compared with power; 0 believes them", unit="s")
    gauge_interval_ms: float = option(1000.0, help="time between readings of temperature, clocks, power limit, utilisation", unit="ms")
