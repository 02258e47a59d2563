"""RAPL energy counters (packages, DRAM, cores, uncore, platform) as a tpb meter."""

from tpb_meter_rapl.meter import RaplConfig, RaplMeter

__all__ = ["RaplConfig", "RaplMeter"]
