"""Notes from which a device's settings are restored: written and synced before anything is changed, deleted when it is put back.

They outlive this process, so that a holder that was killed leaves enough for the next one to restore.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass
class Note:
    """What was found on a device before the first change, what was set, and by whom. Powers in mW, as the driver counts."""

    device: str
    holder_pid: int
    holder_start: str
    boot_id: str
    limit_before_mw: int | None = None
    limit_set_mw: int | None = None
    clocks_locked: bool = False

    def is_held(self) -> bool:
        """Whether the process that wrote the note still lives."""
        return self.boot_id == boot_id() and start_of(self.holder_pid) == self.holder_start != ""

    def is_empty(self) -> bool:
        """Whether nothing was changed."""
        return self.limit_before_mw is None and not self.clocks_locked

    def is_of_this_boot(self) -> bool:
        """Settings do not outlive a reboot, so notes from before one are void."""
        return self.boot_id == boot_id()


def boot_id() -> str:
    """The kernel's id of this boot; empty where it has none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def start_of(pid: int) -> str:
    """Start time of a process in clock ticks: with the pid it names a process for good. Empty where there is none (or only a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


class Journal:
    """One file a device in a folder of the user's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self, device: str) -> Note:
        """A note of this process."""
        return Note(device, os.getpid(), start_of(os.getpid()), boot_id())

    def read(self, device: str) -> Note | None:
        """The note of a device, None where there is none that can be read."""
        return _load(self._path(device))

    def write(self, note: Note) -> None:
        """Replace the note, synced to disk before this returns. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(note.device)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(note), file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def delete(self, device: str) -> None:
        """The settings are back: drop the note."""
        self._path(device).unlink(missing_ok=True)

    def left_behind(self) -> Iterator[Note]:
        """Notes whose holder is gone."""
        for path in sorted(self.folder.glob("*.json")):
            note = _load(path)
            if note is not None and not note.is_held():
                yield note

    def _path(self, device: str) -> Path:
        return self.folder / f"{''.join(c if c.isalnum() or c in '-_' else '_' for c in device)}.json"


def _load(path: Path) -> Note | None:
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        return Note(**row)
    except (OSError, ValueError, TypeError):
        return None
