"""Open one meter: load its driver, look for its sensors, take what reading needs. For the sampler and for `tpb watch`."""

from __future__ import annotations

from typing import Any

from tpb_core import drivers
from tpb_core.api.channel import Channel
from tpb_core.api.codes import Reason
from tpb_core.api.errors import BadInput, TpbError, Unavailable
from tpb_core.api.meter import Meter, MeterConfig, MeterContext


def open_meter(name: str, options: dict[str, Any], context: MeterContext) -> tuple[Meter[MeterConfig], list[Channel]]:
    """The open meter and its channels. Raises `Unavailable` with a reason code, `BadInput` for options; the meter is closed then."""
    meter_class = drivers.load("tpb.meters", name)
    if not float(options.get("interval_ms", 100.0)) > 0:
        raise BadInput(f"meter.{name}.interval_ms={options['interval_ms']}: must be above 0")
    if meter_class.virtual_time != context.clock.virtual:
        kind = "a simulated world and needs a simulated engine" if meter_class.virtual_time else "a real sensor, and this run is simulated"
        raise Unavailable(
            f"meter {name!r} reads {kind}",
            reason=Reason.DISAGREES_WITH_CLOCK,
            fix="Pair the simulated engine with the simulated meter:  tpb +engine=sim +meter=sim",
        )
    meter: Meter[MeterConfig] = meter_class(meter_class.config_class(**options), context)
    try:
        channels = meter.discover()
        meter.open()
    except TpbError:
        meter.close()
        raise
    except Exception as error:
        meter.close()
        raise Unavailable(
            f"meter {name!r} failed while it looked for its sensors: {type(error).__name__}: {error}", reason=Reason.METER_FAILED
        ) from error
    for channel in channels:
        channel.meter, channel.node = name, context.node
    return meter, channels
