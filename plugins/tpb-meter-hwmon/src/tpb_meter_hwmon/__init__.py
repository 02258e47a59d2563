"""Power and energy sensors of the Linux hwmon class as a tpb meter."""

from tpb_meter_hwmon.meter import HwmonConfig, HwmonMeter

__all__ = ["HwmonConfig", "HwmonMeter"]
