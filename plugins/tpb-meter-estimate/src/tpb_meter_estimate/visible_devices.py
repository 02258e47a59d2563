"""`CUDA_VISIBLE_DEVICES`: which GPUs an engine may use, by index or by UUID (also abbreviated), in the way the CUDA runtime reads it."""

from __future__ import annotations

from collections.abc import Sequence


def visible_devices(value: str | None, uuids: Sequence[str]) -> set[int]:
    """Indices into `uuids` of the GPUs that are visible. Unset: all. The first entry that names no GPU ends the list, as in CUDA.

    A MIG slice names no whole GPU, so it ends the list too.
    """
    if value is None:
        return set(range(len(uuids)))
    visible: set[int] = set()
    for entry in (part.strip() for part in value.split(",")):
        if entry.isascii() and entry.isdigit() and int(entry[:9]) == int(entry) < len(uuids):
            visible.add(int(entry))
            continue
        matches = [i for i, uuid in enumerate(uuids) if entry.startswith("GPU-") and uuid.startswith(entry)]
        if len(matches) != 1:
            break
        visible.add(matches[0])
    return visible
