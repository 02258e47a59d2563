"""A compiled double of `libnvidia-ml.so.1`: the real nvidia-ml-py loads it, also in another process, and reads a known power trace."""

from tpb_core.testing.nvml_double.clock import VirtualClock
from tpb_core.testing.nvml_double.double import NvmlDouble
from tpb_core.testing.nvml_double.gpu import GpuSpec, MigSlice
from tpb_core.testing.nvml_double.library import compile_library
from tpb_core.testing.nvml_double.sensor import SENSORS, SensorModel
from tpb_core.testing.nvml_double.trace import PowerTrace

__all__ = ["SENSORS", "GpuSpec", "MigSlice", "NvmlDouble", "PowerTrace", "SensorModel", "VirtualClock", "compile_library"]
