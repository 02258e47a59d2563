"""NVIDIA GPUs and Grace CPUs through DCGM. Standard library only; DCGM's own bindings are imported when the meter looks for them."""

from tpb_meter_dcgm.config import DcgmConfig
from tpb_meter_dcgm.meter import DcgmMeter

__all__ = ["DcgmConfig", "DcgmMeter"]
