"""`python -m tpb_meter_nvml.restore [FOLDER]`: put back GPU settings that a killed run left behind. Exit code 0, or 1 where some remain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tpb_core.api import TpbError
from tpb_meter_nvml.binding import load_binding, start_nvml
from tpb_meter_nvml.control import Settings
from tpb_meter_nvml.journal import Journal


def default_folder() -> Path:
    """Where notes are kept unless an option says otherwise: the user's state folder."""
    import platformdirs

    return Path(platformdirs.user_state_dir("tpb", appauthor=False)) / "nvml-settings"


def restore_left_behind(folder: Path) -> tuple[list[str], list[str]]:
    """Devices restored, and those whose notes remain. Raises Unavailable where NVML does not start while there are notes."""
    journal = Journal(folder)
    if not any(journal.left_behind()):
        return [], []
    nvml = load_binding()
    start_nvml(nvml)
    try:
        settings = Settings(nvml, lambda uuid: _handle(nvml, uuid), journal, lambda code, message, channel: print(f"{code}: {message}"))
        restored = settings.restore_left_behind()
    finally:
        nvml.nvmlShutdown()
    return restored, [note.device for note in journal.left_behind()]


def _handle(nvml: Any, uuid: str) -> Any | None:
    try:
        return nvml.nvmlDeviceGetHandleByUUID(uuid)
    except nvml.NVMLError:
        return None


def main(arguments: list[str]) -> int:
    """Restore and say what was done."""
    try:
        restored, remaining = restore_left_behind(Path(arguments[0]) if arguments else default_folder())
    except TpbError as error:
        print("\n".join(error.lines()), file=sys.stderr)
        return error.exit_code
    print(f"restored: {', '.join(restored) or 'nothing'}")
    if remaining:
        print(f"not restored yet: {', '.join(remaining)}", file=sys.stderr)
    return 1 if remaining else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
