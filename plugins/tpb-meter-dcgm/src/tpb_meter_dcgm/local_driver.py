"""The version of this machine's NVIDIA driver, which `dcgmi` does not tell: the kernel module's own line. Pure parsing but for one file."""

from __future__ import annotations

import re
from pathlib import Path

VERSION = Path("/proc/driver/nvidia/version")
_MODULE = re.compile(r"^NVRM version:.*?Kernel Module(?:\s+for\s+\S+)?\s+(\d{1,6}(?:\.\d{1,6}){1,4})\s", re.MULTILINE | re.ASCII)


def parse_driver(text: str) -> str | None:
    """`570.86.15` of the first line of the kernel module's file; None for any other text. Never raises."""
    found = _MODULE.search(text)
    return None if found is None else found.group(1)


def local_driver(path: Path = VERSION) -> str | None:
    """The driver of this machine; None without one."""
    try:
        return parse_driver(path.read_text(errors="replace"))
    except OSError:
        return None
