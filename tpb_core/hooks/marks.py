"""The marks that tie hook specifications and their listeners together."""

from __future__ import annotations

import pluggy

PROJECT = "tpb"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Decorator for a listener's functions."""
