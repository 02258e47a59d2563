"""A bench for tests of the IPMI meter: meters on a simulated controller that are closed at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tpb_core.api import Reading
from tpb_core.testing.bmc_double.ipmi_sim import PASSWORD, USER, IpmiSim, what_is_missing
from tpb_core.testing.meter_context import RecordingContext
from tpb_meter_ipmi import IpmiConfig, IpmiMeter


class Bench:
    """Makes meters for a simulated controller."""

    def __init__(self) -> None:
        self.meters: list[IpmiMeter] = []

    def meter_on(self, bmc: IpmiSim, **options: object) -> tuple[IpmiMeter, RecordingContext]:
        """A meter that reads every 30 ms through ipmitool unless told otherwise."""
        context = RecordingContext({"IPMI_USER": USER, "IPMI_PASSWORD": PASSWORD})
        settings = {"host": "127.0.0.1", "port": bmc.port, "interval_ms": 30.0, "restart_delay_s": 0.05, "backend": "ipmitool", **options}
        self.meters.append(IpmiMeter(IpmiConfig(**settings), context))  # type: ignore[arg-type]
        return self.meters[-1], context

    def run(self, bmc: IpmiSim, **options: object) -> tuple[IpmiMeter, RecordingContext]:
        """The same, open."""
        meter, context = self.meter_on(bmc, **options)
        meter.open()
        return meter, context

    def watch(self, meter: IpmiMeter, seconds: float) -> list[Reading]:
        """Everything read in that time."""
        found: list[Reading] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found += meter.read()
            time.sleep(0.01)
        return found


@pytest.fixture
def simulator() -> None:
    """Skips where ipmi_sim is not installed; fails there in CI."""
    if missing := what_is_missing():
        assert "CI" not in os.environ, f"CI has to run this: {missing}"
        pytest.skip(missing)


@pytest.fixture
def bench(simulator: None) -> Iterator[Bench]:
    """A bench whose meters are closed at the end."""
    bench = Bench()
    yield bench
    for meter in bench.meters:
        meter.close()
