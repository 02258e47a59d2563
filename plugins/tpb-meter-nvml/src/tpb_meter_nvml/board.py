"""The boards of this machine as NVML lists them: identity, limits and slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tpb_core.api.visible import GpuIdentity
from tpb_meter_nvml.binding import text_of


@dataclass(frozen=True)
class Slice:
    """A MIG device: its UUID, its instance ids, and how many of the board's compute slices it has."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    slices: int


@dataclass(frozen=True)
class Board:
    """A GPU board. `index` is its place in PCI order, as nvidia-smi counts. Powers in watts; None where the driver does not say."""

    index: int
    uuid: str
    name: str
    architecture: int | None
    limits_w: tuple[float, float] | None
    sliced: bool
    slices: tuple[Slice, ...]
    slices_total: int
    driver: str | None = None
    """Version of the driver: what is found out about a sensor holds for it only."""

    def identity(self) -> GpuIdentity:
        """What the reading of `CUDA_VISIBLE_DEVICES` needs to know."""
        listed = tuple((part.uuid, part.gpu_instance, part.compute_instance) for part in self.slices)
        return GpuIdentity(self.uuid, self.name, listed, self.sliced)


def list_boards(nvml: Any) -> list[tuple[Board, Any]]:
    """Every board with its handle. Boards that fall away while they are listed are left out."""
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            found.append((_board(nvml, index, handle), handle))
        except (nvml.NVMLError_GpuIsLost, nvml.NVMLError_InvalidArgument, nvml.NVMLError_NotFound):
            continue
    return found


def _board(nvml: Any, index: int, handle: Any) -> Board:
    constraints = _ask(nvml, nvml.nvmlDeviceGetPowerManagementLimitConstraints, handle)
    mode = _ask(nvml, nvml.nvmlDeviceGetMigMode, handle)
    sliced = bool(mode and mode[0])
    return Board(
        index=index,
        uuid=text_of(nvml.nvmlDeviceGetUUID(handle)),
        name=text_of(nvml.nvmlDeviceGetName(handle)),
        architecture=_ask(nvml, nvml.nvmlDeviceGetArchitecture, handle),
        limits_w=(constraints[0] / 1000, constraints[1] / 1000) if constraints else None,
        sliced=sliced,
        slices=_slices(nvml, handle) if sliced else (),
        slices_total=(_ask(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0) if sliced else 0,
        driver=text_of(driver) if (driver := _ask(nvml, nvml.nvmlSystemGetDriverVersion)) is not None else None,
    )


def _slices(nvml: Any, board: Any) -> tuple[Slice, ...]:
    found = []
    for index in range(_ask(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, board) or 0):
        handle = _ask(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, board, index)
        if handle is None:
            continue
        attributes = _ask(nvml, nvml.nvmlDeviceGetAttributes, handle)
        found.append(
            Slice(
                uuid=text_of(nvml.nvmlDeviceGetUUID(handle)),
                gpu_instance=_ask(nvml, nvml.nvmlDeviceGetGpuInstanceId, handle) or 0,
                compute_instance=_ask(nvml, nvml.nvmlDeviceGetComputeInstanceId, handle) or 0,
                slices=int(attributes.computeInstanceSliceCount) if attributes is not None else 0,
            )
        )
    return tuple(found)


def _ask(nvml: Any, question: Any, *arguments: Any) -> Any:
    """The answer, or None where this device, driver or library does not know the question."""
    try:
        return question(*arguments)
    except nvml.NVMLError:
        return None
