"""The table of `dcgmi discovery -l`: DCGM's numbers of GPUs, with model and UUID, and of Grace CPUs. Pure parsing."""

from __future__ import annotations

import re
from dataclasses import dataclass

SECTION = re.compile(r"\|\s*(GPU|CPU|Switch|ConnectX)\s+ID\s*\|", re.IGNORECASE)
ROW = re.compile(r"\|\s*(\d{1,5}|)\s*\|\s*(.*?)\s*\|?\s*$")
ITEM = re.compile(r"(Name|Device UUID|PCI Bus ID):\s*(.*)")


@dataclass
class Listed:
    """One entity of the table."""

    kind: str
    index: int
    model: str | None = None
    uuid: str | None = None


def parse_discovery(text: str) -> list[Listed]:
    """GPUs and CPUs of the table, in its order; empty for any other text. Never raises."""
    found: list[Listed] = []
    section = None
    current: Listed | None = None
    for line in text.splitlines():
        head = SECTION.match(line)
        if head:
            section, current = head.group(1).lower(), None
            continue
        row = ROW.match(line)
        if row is None or section not in ("gpu", "cpu"):
            continue
        number, words = row.groups()
        if number:
            current = Listed(section, int(number))
            found.append(current)
        item = ITEM.match(words)
        if current is None or item is None:
            continue
        if item.group(1) == "Name":
            current.model = item.group(2)
        elif item.group(1) == "Device UUID":
            current.uuid = item.group(2)
    return found
