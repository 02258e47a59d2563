"""Folders with presets (YAML): the core's own, and those that plugins name in the entry-point group `tpb.conf`."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from tpb_core import drivers
from tpb_core.api.errors import PluginFault
from tpb_core.config.groups import GROUPS
from tpb_core.known import clone_root


def core_folder() -> Path:
    """`conf/` of the clone, or the copy that the wheel carries."""
    packaged = Path(__file__).resolve().parent.parent / "conf"
    root = clone_root()
    return root / "conf" if root is not None and not packaged.is_dir() else packaged


def plugin_folders(packages: Sequence[drivers.Plugin] | None = None) -> list[Path]:
    """The folder of each package named in `tpb.conf`, or of those given. Raises PluginFault naming the distribution of one that is gone."""
    folders = []
    for plugin in drivers.installed("tpb.conf") if packages is None else packages:
        top, *below = plugin.value.split(".")
        spec = importlib.util.find_spec(top)  # of the top alone: looking for a package inside it would import it
        found = [Path(place, *below) for place in (spec.submodule_search_locations or [] if spec is not None else [])]
        folder = next((path for path in found if path.is_dir()), None)
        if folder is None:
            problem = ModuleNotFoundError(f"no package {plugin.value}")
            raise PluginFault(plugin.distribution, f"looking for its presets {plugin.value!r}", problem)
        folders.append(folder)
    return folders


def preset_folders() -> list[Path]:
    """All of them, the core's first."""
    return [core_folder(), *plugin_folders()]


def presets(group: str) -> list[str]:
    """Names of the YAML presets of a group."""
    return sorted({path.stem for folder in preset_folders() for path in (folder / group).glob("*.yaml")})


def preset_file(group: str, name: str) -> Path | None:
    """The YAML file behind a choice; None where the choice is a plugin."""
    return next((path for folder in preset_folders() if (path := folder / group / f"{name}.yaml").is_file()), None)


SWEEP = "sweep"
"""Section of an experiment: options with several values each, measured one after the other."""


def swept_by(experiment: str) -> dict[str, list[object]]:
    """What an experiment preset varies, for example `{"sampling.max_output_tokens": [1, 64]}`; empty for most."""
    from omegaconf import OmegaConf

    path = preset_file("experiment", experiment)
    if path is None:
        return {}
    section = OmegaConf.to_container(OmegaConf.load(path)).get(SWEEP) or {}  # type: ignore[union-attr]
    return {str(key): list(values) for key, values in section.items()}


def presets_by_group(packages: Sequence[drivers.Plugin]) -> dict[str, list[str]]:
    """Names of the YAML presets of every group that has any; `packages` are the plugins of the group `tpb.conf`."""
    found: dict[str, set[str]] = {}
    for folder in [core_folder(), *plugin_folders(packages)]:
        for path in folder.glob("*/*.yaml"):
            found.setdefault(path.parent.name, set()).add(path.stem)
    return {group: sorted(names) for group, names in sorted(found.items())}


def extra_groups() -> set[str]:
    """Groups that exist only because somebody's preset folder has them; they are not in the defaults list."""
    found = {path.name for folder in preset_folders() for path in folder.iterdir() if path.is_dir() and any(path.glob("*.yaml"))}
    return found - GROUPS.keys()
