"""The RAPL meter passes the conformance suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tpb_core.api import Reason
from tpb_core.testing.meter_case import MeterCase
from tpb_core.testing.meter_suite import MeterSuite
from tpb_core.testing.sysfs_tree import PowercapTree
from tpb_meter_rapl import RaplConfig, RaplMeter


class TestRapl(MeterSuite):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Iterator[MeterCase]:
        tree = PowercapTree(tmp_path / "powercap")
        near_wrap = 262_143_000_000
        tree.zone("intel-rapl:0", "package-0", 120.0, start_uj=near_wrap, limit_w=350.0)
        tree.zone("intel-rapl:0:0", "core", 80.0)
        dram = tree.zone("intel-rapl:0:1", "dram", 15.0, range_uj=65_532_610_987)
        tree.zone("intel-rapl:1", "package-1-die-0", 60.0)
        tree.zone("intel-rapl:2", "package-1-die-1", 61.0)
        tree.zone("intel-rapl:3", "psys", 200.0)
        tree.zone("intel-rapl-mmio:0", "package-0", 120.0)

        def break_dram() -> str:
            dram.watts = 0.0
            dram.range_uj = 10**30
            dram.start_uj = 10**29  # more digits than a counter can have
            return "n0/dram0/energy"

        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 143\nmodel name : Intel(R) Xeon(R)\n")
        options = {"root": str(tree.root), "perf_root": str(tmp_path / "no-perf"), "cpuinfo": str(cpuinfo)}
        with tree.moving():
            yield MeterCase(
                RaplMeter,
                RaplConfig(**options),
                true_watts={"n0/cpu0/energy": 120.0, "n0/dram0/energy": 15.0, "n0/cpu1/die1/energy": 61.0, "n0/psys/energy": 200.0},
                truth_s=1.0,
                truth_rel=0.1,
                break_channel=break_dram,
                refusals={Reason.NO_SENSOR: RaplConfig(root=str(tmp_path / "nothing"), perf_root=str(tmp_path / "no-perf"))},
            )
