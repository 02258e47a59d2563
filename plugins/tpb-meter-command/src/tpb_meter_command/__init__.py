"""Any program that prints numbers as a tpb meter."""

from tpb_meter_command.meter import CommandConfig, CommandMeter

__all__ = ["CommandConfig", "CommandMeter"]
