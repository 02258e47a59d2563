"""A meter that always says 42 watts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tpb_core.api import Channel, Meter, MeterConfig, Reading, Reason, Unavailable, option


@dataclass
class AcmeMeterConfig(MeterConfig):
    """Options of the acme meter."""

    name: str = option("acme", help="entry-point name of the meter")
    interval_ms: float = option(20.0, help="time between two readings", unit="ms", minimum=1)
    watts: float = option(42.0, help="what it says", unit="W", minimum=0)
    broken: bool = option(False, help="pretend that the sensor is gone")


class AcmeMeter(Meter[AcmeMeterConfig]):
    """One power channel of a node."""

    config_class = AcmeMeterConfig

    def discover(self) -> list[Channel]:
        """One channel, instantaneous."""
        if self.config.broken:
            raise Unavailable("the acme sensor is gone.", reason=Reason.NO_SENSOR, fix="Plug it in.")
        return [
            Channel(
                channel="n0/acme/power",
                domain="n0",
                scope="node",
                kind="power",
                unit="W",
                evidence="measured",
                meter="acme",
                sensor="acme:42",
                resolution=0.1,
                averaging_ms=0.0,
                update_ms=20.0,
                delay_ms=0.0,
            )
        ]

    def read(self) -> Iterable[Reading]:
        """42 W."""
        before_ns = self.context.clock.now_ns()
        return [Reading("n0/acme/power", before_ns, self.context.clock.now_ns(), self.config.watts)]
