"""Which GPUs a program may use, from `CUDA_VISIBLE_DEVICES` and its like. Parsing only: what the machine has is passed in.

Rules as CUDA's and HIP's documentation give them: unset is all, an empty list is none, a list ends at the first entry that is not
valid, UUIDs may be shortened to a unique prefix, and CUDA numbers devices fastest first unless `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class GpuIdentity:
    """A board as the driver lists it: its UUID, model name, and the UUIDs of its slices with their instance ids."""

    uuid: str
    name: str
    slices: tuple[tuple[str, int, int], ...] = ()
    """`(uuid, gpu instance, compute instance)` of each MIG device, where the board is sliced."""
    sliced: bool = False
    """MIG mode is on: programs see slices, never the board."""


@dataclass(frozen=True)
class VisibleGpus:
    """What a program may use. `boards` are UUIDs of whole boards, `slices` maps a board to the UUIDs of its slices in use."""

    boards: tuple[str, ...] = ()
    slices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problem: str | None = None
    """Why the answer cannot be known (an index that depends on CUDA's own order, a prefix of two devices); None where it is."""
    notes: tuple[str, ...] = ()
    """Entries that name nothing here, in words."""


def cuda_visible(environ: Mapping[str, str], gpus: Sequence[GpuIdentity]) -> VisibleGpus:
    """The GPUs that a CUDA program with this environment may use, of `gpus` in PCI order (the order of NVML and nvidia-smi)."""
    value = environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return _everything(gpus)
    fixed_order = environ.get("CUDA_DEVICE_ORDER", "").strip().upper() == "PCI_BUS_ID"
    return _Reading(gpus, "CUDA_VISIBLE_DEVICES", fixed_order or len({gpu.name for gpu in gpus}) < 2).of(value)


def hip_visible(environ: Mapping[str, str], gpus: Sequence[GpuIdentity]) -> VisibleGpus:
    """The GPUs that a ROCm program with this environment may use: first `ROCR_VISIBLE_DEVICES`, then `HIP_VISIBLE_DEVICES` of these.

    HIP honours `CUDA_VISIBLE_DEVICES` too where its own variable is not set.
    """
    answer = _everything(gpus)
    names = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES" if "HIP_VISIBLE_DEVICES" in environ else "CUDA_VISIBLE_DEVICES")
    remaining: Sequence[GpuIdentity] = gpus
    for name in names:
        if name in environ and answer.problem is None:
            answer = _Reading(remaining, name, True).of(environ[name])
            order = {uuid: place for place, uuid in enumerate(answer.boards)}
            remaining = sorted((gpu for gpu in remaining if gpu.uuid in order), key=lambda gpu: order[gpu.uuid])
    return answer


def _everything(gpus: Sequence[GpuIdentity]) -> VisibleGpus:
    """No variable is set: all boards; a program sees one slice only, so several slices leave open which one it takes."""
    boards = tuple(gpu.uuid for gpu in gpus if not gpu.sliced)
    slices = {gpu.uuid: tuple(uuid for uuid, _, _ in gpu.slices) for gpu in gpus if gpu.sliced and gpu.slices}
    several = sum(len(found) for found in slices.values())
    if several > 1 or (slices and boards):
        problem = "CUDA_VISIBLE_DEVICES is not set and boards are sliced (MIG): CUDA takes one slice, and which one cannot be known"
        return VisibleGpus(boards, slices, problem)
    return VisibleGpus(boards, slices)


class _Reading:
    """One list of identifiers being read."""

    def __init__(self, gpus: Sequence[GpuIdentity], variable: str, order_known: bool) -> None:
        self.gpus, self.variable, self.order_known = gpus, variable, order_known
        self.boards: list[str] = []
        self.slices: dict[str, tuple[str, ...]] = {}
        self.notes: list[str] = []
        self.problem: str | None = None
        self.indices = 0

    def of(self, value: str) -> VisibleGpus:
        for entry in (part.strip() for part in value.split(",")):
            if not self._take(entry):
                break
        if self.indices and not self.order_known and len(self.boards) < len(self.gpus) and self.problem is None:
            self.problem = (
                f"{self.variable}={value} names GPUs by their place in CUDA's fastest-first order, which cannot be known: "
                "this machine has GPUs of several models"
            )
        return VisibleGpus(tuple(self.boards), self.slices, self.problem, tuple(self.notes))

    def _take(self, entry: str) -> bool:
        """Add what an entry names. False where the list ends here."""
        if entry.lstrip("+").isdecimal() and entry.isascii():
            return self._take_index(int(entry))
        if entry.upper().startswith(("GPU-", "MIG-")):
            return self._take_uuid(entry)
        if entry and entry != "-1":
            self.notes.append(f"{self.variable}: {entry!r} is neither an index nor a UUID; it and what follows it are not visible")
        return False

    def _take_index(self, index: int) -> bool:
        if index >= len(self.gpus):
            self.notes.append(f"{self.variable}: there is no GPU {index} here; it and what follows it are not visible")
            return False
        self.indices += 1
        return self._take_gpu(self.gpus[index], str(index))

    def _take_gpu(self, gpu: GpuIdentity, entry: str) -> bool:
        """A board by its index or UUID. Where it is sliced, a program gets a slice of it, never the board."""
        if not gpu.sliced:
            return self._add_board(gpu.uuid)
        if len(gpu.slices) == 1:
            return self._add_slice(gpu.uuid, gpu.slices[0][0])
        self.problem = f"{self.variable} names GPU {entry}, which is sliced (MIG): which slice is used cannot be known"
        return False

    def _take_uuid(self, entry: str) -> bool:
        wanted = entry.lower()
        boards = [gpu for gpu in self.gpus if gpu.uuid.lower().startswith(wanted)]
        slices = [(gpu.uuid, uuid) for gpu in self.gpus for uuid, one, two in gpu.slices if _names_slice(wanted, gpu.uuid, uuid, one, two)]
        if len(boards) + len(slices) > 1:
            self.problem = f"{self.variable}: {entry!r} is the beginning of several UUIDs"
            return False
        if boards:
            return self._take_gpu(boards[0], entry)
        if slices:
            return self._add_slice(*slices[0])
        self.notes.append(f"{self.variable}: there is no device {entry!r} here; it and what follows it are not visible")
        return False

    def _add_board(self, uuid: str) -> bool:
        if uuid in self.boards:
            self.boards.clear()
            self.notes.append(f"{self.variable} names a GPU twice; CUDA then shows none")
            return False
        self.boards.append(uuid)
        return True

    def _add_slice(self, board: str, uuid: str) -> bool:
        self.slices[board] = (*self.slices.get(board, ()), uuid)
        return True


def _names_slice(wanted: str, board: str, uuid: str, gpu_instance: int, compute_instance: int) -> bool:
    """Both spellings: `MIG-<uuid>` (may be shortened) and the older `MIG-<board uuid>/<gpu instance>/<compute instance>`."""
    return uuid.lower().startswith(wanted) or wanted == f"mig-{board.lower()}/{gpu_instance}/{compute_instance}"
