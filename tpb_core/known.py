"""The one table of plugins that exist, for install hints.

The core names plugins nowhere else, apart from the default choices in conf/tpb.yaml.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

KNOWN: dict[str, dict[str, str]] = {
    "tpb.engines": {
        "deepspeed": "tpb-engine-deepspeed",
        "hf": "tpb-engine-hf",
        "llamacpp": "tpb-engine-llamacpp",
        "openai": "tpb-engine-openai",
        "sim": "tpb-sim",
        "trtllm": "tpb-engine-trtllm",
        "trtllm_serve": "tpb-engine-trtllm",
        "vllm": "tpb-engine-vllm",
        "vllm_serve": "tpb-engine-vllm",
    },
    "tpb.meters": {
        "amdsmi": "tpb-meter-amdsmi",
        "command": "tpb-meter-command",
        "csv": "tpb-meter-csv",
        "dcgm": "tpb-meter-dcgm",
        "estimate": "tpb-meter-estimate",
        "estimate_gpu": "tpb-meter-estimate",
        "hwmon": "tpb-meter-hwmon",
        "ipmi": "tpb-meter-ipmi",
        "nvml": "tpb-meter-nvml",
        "rapl": "tpb-meter-rapl",
        "redfish": "tpb-meter-redfish",
        "server": "tpb-engine-openai",
        "sim": "tpb-sim",
        "trtllm_energy": "tpb-engine-trtllm",
    },
    "tpb.prompts": {"builtin": "tpb-prompts", "file": "tpb-prompts", "synthetic": "tpb-prompts", "trace": "tpb-prompts"},
    "tpb.attributors": {
        "differencing": "tpb-attributors",
        "disaggregated": "tpb-attributors",
        "steps": "tpb-attributors",
        "totals": "tpb-attributors",
        "windowed": "tpb-attributors",
    },
}
"""Entry-point group -> plugin name -> distribution. Also names that are planned; `install_hint` says so where the source is not there."""

PLANNED = "It is planned and not part of this version of tpb"


def clone_root() -> Path | None:
    """The folder of the clone that this package runs from; None when it was installed as a wheel."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "pyproject.toml").is_file() and (root / "plugins").is_dir() else None


def plugin_folder(distribution: str) -> Path | None:
    """Where the clone has the source of a distribution of ours; None without a clone or without that plugin."""
    root = clone_root()
    folder = root / "plugins" / distribution if root else None
    return folder if folder and (folder / "pyproject.toml").is_file() else None


def install_hint(distribution: str, installed: Collection[str] = ()) -> str:
    """What to type to get a plugin of ours: nothing is published, so it is a folder of the clone.

    `installed` are distributions that are there: what they do not offer yet is planned.
    """
    folder = plugin_folder(distribution)
    if distribution in installed or (folder is None and clone_root() is not None):
        return f"{PLANNED} (in {distribution})."
    if folder is not None:
        return f"Install it:  pip install -e {_short(folder)}"
    return f"Install it from a clone of tpb:  pip install -e plugins/{distribution}"


def _short(folder: Path) -> str:
    """Relative where that is a path that starts here, absolute otherwise."""
    relative = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else relative
