"""AMD GPUs through amdsmi, which is imported when the meter looks for devices and not before."""

from tpb_meter_amdsmi.config import AmdsmiConfig
from tpb_meter_amdsmi.meter import AmdsmiMeter

__all__ = ["AmdsmiConfig", "AmdsmiMeter"]
