"""The meter under the suite that every meter has to pass. Without an engine, its devices draw bare power."""

from __future__ import annotations

import pytest

from tpb_core.testing.meter_suite import MeterCase, MeterSuite
from tpb_sim.meter import SimMeter, SimMeterConfig


class TestSimMeter(MeterSuite):
    @pytest.fixture
    def case(self) -> MeterCase:
        config = SimMeterConfig(devices=2, sensor="ideal", node=True)
        return MeterCase(SimMeter, config, true_watts={"n0/gpu0/power": 70.0, "n0/gpu1/energy": 70.0})
