"""Sensors: what they do to the truth (`SensorSpec`, `Faults`), the classes known by name, and a sensor at work."""

from tpb_sim.sensor.reading import Readings, Sensor
from tpb_sim.sensor.spec import SENSORS, Faults, SensorSpec, sensor_spec

__all__ = ["SENSORS", "Faults", "Readings", "Sensor", "SensorSpec", "sensor_spec"]
