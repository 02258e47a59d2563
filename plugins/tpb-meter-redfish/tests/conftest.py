"""A bench for tests of the Redfish meter: services on loopback and meters that are closed at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tpb_core.api import Channel, Reading
from tpb_core.testing.bmc_double.certificate import what_is_missing
from tpb_core.testing.bmc_double.redfish import PASSWORD, USER, RedfishService
from tpb_core.testing.meter_context import RecordingContext
from tpb_meter_redfish import RedfishConfig, RedfishMeter


class Bench:
    """A running service with TLS, and meters for it."""

    def __init__(self, service: RedfishService) -> None:
        self.service, self.tree = service, service.tree
        self.meters: list[RedfishMeter] = []

    def meter(self, **options: object) -> tuple[RedfishMeter, RecordingContext]:
        """A meter that reads every 30 ms unless told otherwise."""
        context = RecordingContext({"REDFISH_USER": USER, "REDFISH_PASSWORD": PASSWORD})
        settings = {
            "url": self.service.url,
            "ca_file": str(self.service.certificate or ""),
            "interval_ms": 30.0,
            "timeout_s": 5.0,
            **options,
        }
        self.meters.append(RedfishMeter(RedfishConfig(**settings), context))  # type: ignore[arg-type]
        return self.meters[-1], context

    def run(self, **options: object) -> tuple[RedfishMeter, RecordingContext]:
        """The same, open."""
        meter, context = self.meter(**options)
        meter.open()
        return meter, context

    def channels(self, **options: object) -> dict[str, Channel]:
        """What a meter announces, by name."""
        meter, _ = self.meter(**options)
        return {channel.channel: channel for channel in meter.discover()}

    def watch(self, meter: RedfishMeter, seconds: float) -> list[Reading]:
        """Everything read in that time."""
        found: list[Reading] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found += meter.read()
            time.sleep(0.01)
        return found


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if missing := what_is_missing():
        assert "CI" not in os.environ, f"CI has to run this: {missing}"
        pytest.skip(missing)
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture
def bench(certificates: Path) -> Iterator[Bench]:
    """A bench whose meters and service are closed at the end."""
    with RedfishService(certificates) as service:
        bench = Bench(service)
        yield bench
        for meter in bench.meters:
            meter.close()
