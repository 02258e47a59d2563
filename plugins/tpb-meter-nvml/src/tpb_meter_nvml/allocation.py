"""Which boards the run uses, wholly or in part. A slice never gets the board's power: it is refused, or apportioned and labelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tpb_core.api import Reason, Unavailable
from tpb_core.api.visible import VisibleGpus, cuda_visible
from tpb_meter_nvml.board import Board

SHARE_METHOD = "compute_slices"


@dataclass(frozen=True)
class Allocation:
    """A board's part in the run. `share` is set where a slice was apportioned; `refused` says why a slice was not."""

    allocated: bool
    share: float | None = None
    refused: str | None = None


def visible_gpus(boards: Sequence[Board], devices: str, environ: Mapping[str, str]) -> VisibleGpus:
    """What the option `devices` says, and under `auto` the engine's environment."""
    if devices != "auto":
        environ = {} if devices == "all" else {"CUDA_VISIBLE_DEVICES": devices, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return cuda_visible(environ, [board.identity() for board in boards])


def allocate(boards: Sequence[Board], visible: VisibleGpus, mig: str) -> dict[str, Allocation]:
    """Each board's part, by UUID.

    Raises Unavailable: `not_configured` where the environment leaves open which GPUs are used, `mig_slice` where all that the run has
    is slices and `mig` is `refuse`.
    """
    if visible.problem is not None:
        if any(board.sliced for board in boards) and "MIG" in visible.problem:
            fix = "Name the slice: CUDA_VISIBLE_DEVICES=MIG-...    (nvidia-smi -L lists them)"
            raise Unavailable(visible.problem, reason=Reason.MIG_SLICE, fix=fix)
        fix = "export CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs in CUDA_VISIBLE_DEVICES, or set meter.nvml.devices=INDEX,..."
        raise Unavailable(visible.problem, reason=Reason.NOT_CONFIGURED, fix=fix)
    parts = {board.uuid: _part(board, visible, mig) for board in boards}
    refused = [part.refused for part in parts.values() if part.refused]
    if refused and not any(part.allocated for part in parts.values()):
        fix = "Run on a whole GPU (sudo nvidia-smi -mig 0), or accept an apportioned figure: meter.nvml.mig=share"
        raise Unavailable(refused[0], reason=Reason.MIG_SLICE, fix=fix)
    return parts


def _part(board: Board, visible: VisibleGpus, mig: str) -> Allocation:
    if board.uuid in visible.boards:
        return Allocation(True)
    used = set(visible.slices.get(board.uuid, ()))
    if not used:
        return Allocation(False)
    slices = sum(part.slices for part in board.slices if part.uuid in used)
    if slices and slices == board.slices_total:
        return Allocation(True)  # all slices are the run's, so the board's power is the run's
    if mig == "share" and slices and board.slices_total:
        return Allocation(True, share=slices / board.slices_total)
    what = f"the run owns {slices} of {board.slices_total} slices (MIG) of {board.name} {board.uuid}; power is known for the board only"
    return Allocation(False, refused=what)
