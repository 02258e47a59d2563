"""Factors between the units that names in tpb carry (`_ns`, `_ms`, `_s`, `_j`, `_w`)."""

from __future__ import annotations

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
J_PER_WH = 3_600.0
