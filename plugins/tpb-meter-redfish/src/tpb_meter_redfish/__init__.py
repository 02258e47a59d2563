"""Power and energy of servers and rack PDUs over Redfish as a tpb meter."""

from tpb_meter_redfish.config import RedfishConfig
from tpb_meter_redfish.meter import RedfishMeter

__all__ = ["RedfishConfig", "RedfishMeter"]
