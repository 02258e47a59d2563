"""What `tpb env create` installs for a plugin that builds upon others of the clone."""

from __future__ import annotations

from pathlib import Path

from tpb_core import known
from tpb_core.cli.env import foreign_requirements, with_siblings


def write_plugin(folder: Path, dependencies: list[str]) -> Path:
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(f"[project]\nname = {folder.name!r}\ndependencies = {dependencies!r}\n")
    return folder


def test_plugins_of_the_clone_are_installed_from_it(tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "tpb-engine-mine", ["tpb_core>=0.1", "tpb-engine-openai", "numpy>=1.26"])
    folders = with_siblings(plugin)
    assert folders == [plugin, known.plugin_folder("tpb-engine-openai")]
    assert foreign_requirements(folders) == ["numpy>=1.26"]


def test_what_a_sibling_needs_comes_too() -> None:
    plugin = known.plugin_folder("tpb-engine-vllm")
    assert plugin is not None
    folders = with_siblings(plugin)
    assert {folder.name for folder in folders} == {"tpb-engine-vllm", "tpb-engine-hf", "tpb-engine-openai"}
    assert not any(requirement.startswith("tpb") for requirement in foreign_requirements(folders))
