"""Version constants of every contract that somebody outside this repository relies on.

An interface version is `major.minor`. A plugin states the version that it was written against; the core loads it when the major
number is equal and the plugin's minor number is not newer than the core's (`tpb_core.drivers` enforces it).
"""

from __future__ import annotations

ENGINE_INTERFACE = "1.1"
METER_INTERFACE = "1.0"
PROMPTS_INTERFACE = "1.1"
ATTRIBUTOR_INTERFACE = "1.0"

WORKER_PROTOCOL = 2
"""Version of the messages between session and engine worker. Both ends must speak the same one."""

BUNDLE_FORMAT = "tpb-run"
BUNDLE_VERSION = "1.0"


def is_compatible(plugin_version: str, core_version: str) -> bool:
    """Whether a plugin written against `plugin_version` of an interface runs under `core_version` of it."""
    plugin_major, plugin_minor = (int(part) for part in plugin_version.split("."))
    core_major, core_minor = (int(part) for part in core_version.split("."))
    return plugin_major == core_major and plugin_minor <= core_minor
