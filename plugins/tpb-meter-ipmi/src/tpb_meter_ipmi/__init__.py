"""Node power from a management controller (BMC) over IPMI as a tpb meter."""

from tpb_meter_ipmi.config import IpmiConfig
from tpb_meter_ipmi.meter import IpmiMeter

__all__ = ["IpmiConfig", "IpmiMeter"]
