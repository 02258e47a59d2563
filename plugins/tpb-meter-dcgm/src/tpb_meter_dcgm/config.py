"""Options of the DCGM meter."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_core.api import MeterConfig, option


@dataclass
class DcgmConfig(MeterConfig):
    """Options of the DCGM meter."""

    name: str = option("dcgm", help="entry-point name of the meter")
    interval_ms: float = option(100.0, help="time between two readings, and the rate at which DCGM is told to sample", unit="ms")
    backend: str = option(
        "auto",
        help="way to DCGM. `auto`: the exporter where `url` is given, else the first that works of dcgmi, bindings, a local exporter",
        choices=("auto", "dcgmi", "bindings", "exporter"),
    )
    devices: str = option(
        "auto", help="GPUs of the run: `auto` as the engine's CUDA_VISIBLE_DEVICES says, `all`, or a list of indices and UUIDs"
    )
    host: str = option("", help="host engine, as HOST or HOST:PORT (default: this machine's)")
    dcgmi: str = option("dcgmi", help="name or path of the dcgmi program")
    bindings: str = option("", help="folder of DCGM's Python bindings (default: where DCGM 4 and 3 install them)")
    url: str = option("", help="address of a dcgm-exporter, for example http://127.0.0.1:9400/metrics")
    scrape_ms: float = option(1000.0, help="time between two requests to the exporter", unit="ms")
    collect_ms: float = option(
        0.0, help="the exporter's own --collect-interval; 0: look at start, and its default of 30 s where it does not show", unit="ms"
    )
    profiling: bool = option(False, help="also record profiling fields (1001 to 1005); on Ampere and older they disturb other profilers")
    start_s: float = option(10.0, help="most time to wait for DCGM's first values", unit="s")
