"""NVIDIA GPUs through NVML (nvidia-ml-py), which is imported when the meter looks for devices and not before."""

from tpb_meter_nvml.config import NvmlConfig
from tpb_meter_nvml.meter import NvmlMeter

__all__ = ["NvmlConfig", "NvmlMeter"]
