"""What a controller can be asked for watts: the DCMI reading and each power sensor, as one request and one parser each."""

from __future__ import annotations

from dataclasses import dataclass

from tpb_meter_ipmi import dcmi
from tpb_meter_ipmi.link import Link
from tpb_meter_ipmi.sdr import PowerSensor, parse_reading

_SENSOR_EVENT, _GET_READING = 0x04, 0x2D


@dataclass(frozen=True)
class Sample:
    """One answer: watts, and the controller's own stamp in ns where it gives one."""

    watts: float
    source_ns: int | None = None


@dataclass(frozen=True)
class Source:
    """The DCMI reading (`sensor` None) or a sensor."""

    sensor: PowerSensor | None = None

    @property
    def name(self) -> str:
        """The sensor's name, or `dcmi`."""
        return self.sensor.name if self.sensor else "dcmi"

    def read(self, link: Link) -> Sample:
        """Ask for the present power. Raises CompletionError, LinkError, and ValueError where the answer is no reading."""
        if self.sensor is not None:
            answer = link.request(_SENSOR_EVENT, _GET_READING, bytes([self.sensor.number]))
            return Sample(parse_reading(self.sensor, answer))
        reading = dcmi.parse_power_reading(link.request(dcmi.NETFN, dcmi.COMMAND, dcmi.REQUEST))
        if not reading.active:
            raise ValueError("the controller says that power measurement is not activated")
        return Sample(float(reading.watts), reading.stamp_s * 10**9 if reading.stamp_s is not None else None)
