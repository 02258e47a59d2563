"""The GPU estimate: declared watts times the utilisation that NVML tells. For GPUs whose power cannot be read."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tpb_core.api import BadInput, Channel, EventCode, Meter, MeterConfig, MeterContext, Reading, Reason, Unavailable, option
from tpb_core.api.visible import GpuIdentity, cuda_visible


@dataclass
class GpuEstimateConfig(MeterConfig):
    """Options of the GPU estimate."""

    name: str = option("estimate_gpu", help="entry-point name of the meter")
    interval_ms: float = option(200.0, help="time between two readings", unit="ms")
    tdp_w: float | None = option(None, help="watts of one fully used GPU; without it nothing is estimated", unit="W")
    idle_w: float = option(0.0, help="watts of one unused GPU", unit="W")


class GpuEstimateMeter(Meter[GpuEstimateConfig]):
    """Power = idle_w + utilisation x (tdp_w - idle_w) for each GPU. Evidence is always `estimated`."""

    config_class = GpuEstimateConfig

    def __init__(self, config: GpuEstimateConfig, context: MeterContext) -> None:
        super().__init__(config, context)
        self._nvml: Any = None
        self._handles: dict[str, Any] = {}
        self._failing: set[str] = set()

    def discover(self) -> list[Channel]:
        """One power channel a GPU. Raises Unavailable: `not_configured`, `not_installed`, `no_sensor`; BadInput for impossible watts."""
        self.close()
        tdp_w, idle_w = self.config.tdp_w, self.config.idle_w
        if tdp_w is None:
            raise Unavailable(
                "the GPU estimate needs the watts of a fully used GPU", reason=Reason.NOT_CONFIGURED, fix="meter.estimate_gpu.tdp_w=350"
            )
        if not (math.isfinite(tdp_w) and math.isfinite(idle_w) and 0 <= idle_w < tdp_w):
            raise BadInput(f"idle_w={idle_w:g} and tdp_w={tdp_w:g} are no power model", "Give 0 <= idle_w < tdp_w in watts.")
        self._load_nvml()
        gpus = self._find_gpus()
        visible = cuda_visible(self.context.environ, gpus)
        if visible.problem:
            self.close()
            raise Unavailable(visible.problem, reason=Reason.UNSUPPORTED, fix="Name the GPUs by UUID: CUDA_VISIBLE_DEVICES=GPU-...")
        channels = [self._channel(index, gpu.uuid, gpu.uuid in visible.boards, tdp_w) for index, gpu in enumerate(gpus)]
        self._handles = {channel.channel: self._nvml.nvmlDeviceGetHandleByIndex(i) for i, channel in enumerate(channels)}
        return channels

    def _load_nvml(self) -> None:
        try:
            self._nvml = importlib.import_module("pynvml")
        except ImportError as error:
            raise Unavailable("nvidia-ml-py is not installed", reason=Reason.NOT_INSTALLED, fix="pip install 'nvidia-ml-py>=12'") from error
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as error:
            self._nvml = None
            raise Unavailable(
                f"NVML does not start: {error}", reason=Reason.NO_SENSOR, fix="Install the NVIDIA driver; there may be no NVIDIA GPU here."
            ) from error

    def _find_gpus(self) -> list[GpuIdentity]:
        try:
            handles = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(self._nvml.nvmlDeviceGetCount())]
            for handle in handles:
                self._nvml.nvmlDeviceGetUtilizationRates(handle)
            gpus = [GpuIdentity(_text(self._nvml.nvmlDeviceGetUUID(h)), _text(self._nvml.nvmlDeviceGetName(h))) for h in handles]
        except self._nvml.NVMLError as error:
            self.close()
            fix = "GPUs in MIG mode have no utilisation; otherwise see nvidia-smi."
            raise Unavailable(f"NVML does not tell the utilisation: {error}", reason=Reason.UNSUPPORTED, fix=fix) from error
        if not gpus:
            self.close()
            raise Unavailable("there is no NVIDIA GPU here", reason=Reason.NO_SENSOR, fix="nvidia-smi lists what the driver sees.")
        return gpus

    def _channel(self, index: int, uuid: str, allocated: bool, tdp_w: float) -> Channel:
        domain = f"{self.context.node}/gpu{index}"
        model = f"{self.config.idle_w:g} W + utilisation x {tdp_w - self.config.idle_w:g} W, declared by the user"
        return Channel(
            channel=f"{domain}/estimate", domain=domain, parent=self.context.node, node=self.context.node, scope="gpu",
            meter="estimate_gpu", device=uuid, sensor=f"{uuid}/utilisation", kind="power", unit="W", allocated=allocated,
            resolution=(tdp_w - self.config.idle_w) / 100.0, max_power_w=tdp_w, evidence="estimated", extensions={"x_power_model": model},
        )  # fmt: skip

    def open(self) -> None:
        """Nothing beyond what `discover` took."""
        if not self._handles:
            self.discover()

    def read(self) -> Iterable[Reading]:
        """One power a GPU. A GPU whose utilisation cannot be read is left out and reported once."""
        assert self.config.tdp_w is not None, "discover refuses to work without it"
        clock = self.context.clock
        readings: list[Reading] = []
        for name, handle in self._handles.items():
            before = clock.now_ns()
            try:
                percent = float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
                problem = None if 0 <= percent <= 100 else f"utilisation of {percent:g} %"
            except self._nvml.NVMLError as error:
                percent, problem = math.nan, str(error)
            after = clock.now_ns()
            if problem is None:
                self._failing.discard(name)
                power_w = self.config.idle_w + percent / 100 * (self.config.tdp_w - self.config.idle_w)
                readings.append(Reading(name, before, after, power_w))
            elif name not in self._failing:
                self._failing.add(name)
                self.context.report_event(EventCode.METER_ERROR, problem, name)
        return readings

    def close(self) -> None:
        """Shut NVML down."""
        nvml, self._nvml, self._handles = self._nvml, None, {}
        if nvml is not None:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()


def _text(answer: bytes | str) -> str:
    """Old versions of the library answer in bytes."""
    return answer.decode() if isinstance(answer, bytes) else answer
