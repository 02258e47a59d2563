"""A recorded power log as a tpb meter. `tpb_meter_csv.join.join_log` adds one to a finished run."""

from tpb_meter_csv.config import CsvConfig
from tpb_meter_csv.meter import CsvMeter

__all__ = ["CsvConfig", "CsvMeter"]
