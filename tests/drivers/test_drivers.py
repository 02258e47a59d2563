"""Discovery: by metadata, one at a time, and what is said when something is wrong with a plugin."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tpb_core import drivers, known
from tpb_core.api.errors import BadInput, PluginFault, Refused

METER = "from tpb_core.api import *\nclass M(Meter):\n    {}\n    def discover(self): return []\n    def read(self): return []\n"


def test_listing_imports_nothing(install: Any) -> None:
    install("broken", "1.5", {"tpb.meters": {"broken": "broken_m:M"}}, {"broken_m": "raise RuntimeError('imported')"})
    plugin = drivers.find("tpb.meters", "broken")
    assert plugin == ("broken", "broken", "1.5", "broken_m:M", "tpb.meters")
    assert plugin in drivers.installed("tpb.meters")
    assert plugin in drivers.all_installed()["tpb.meters"]


@pytest.mark.parametrize(
    "text", ["raise RuntimeError('boom')", "import not_there_at_all", "assert False, 'boom'", "M = 3", "x = 1", "def M(): pass"]
)
def test_a_broken_plugin_is_named_by_its_distribution(install: Any, text: str) -> None:
    install("broken", "1.5", {"tpb.meters": {"broken": "broken_m2:M"}}, {"broken_m2": text})
    sys.modules.pop("broken_m2", None)
    with pytest.raises(PluginFault) as caught:
        drivers.load("tpb.meters", "broken")
    assert caught.value.distribution == "broken"
    assert caught.value.exit_code == 1
    assert caught.value.__cause__ is not None


def test_only_the_chosen_one_is_imported(install: Any) -> None:
    install(
        "pair",
        "1.0",
        {"tpb.meters": {"good": "pair_good:M", "bad": "pair_bad:M"}},
        {"pair_good": METER.format("pass"), "pair_bad": "raise RuntimeError"},
    )
    assert drivers.load("tpb.meters", "good").__name__ == "M"
    assert "pair_bad" not in sys.modules


@pytest.mark.parametrize(("version", "fits"), [("1.0", True), ("1.99", False), ("2.0", False), ("0.9", False), ("banana", False)])
def test_interface_versions_are_checked(install: Any, version: str, fits: bool) -> None:
    module = f"versioned_{version.replace('.', '_')}"
    install("versioned", "1.0", {"tpb.meters": {"versioned": f"{module}:M"}}, {module: METER.format(f"interface_version = {version!r}")})
    if fits:
        assert drivers.load("tpb.meters", "versioned")
    else:
        with pytest.raises(Refused, match=f"version {version} of the meter interface"):
            drivers.load("tpb.meters", "versioned")


def test_a_name_that_two_distributions_offer_is_refused(install: Any) -> None:
    for distribution in ("one", "two"):
        install(distribution, "1.0", {"tpb.meters": {"same": f"{distribution}_m:M"}})
    with pytest.raises(BadInput, match=r"more than one distribution: one 1\.0, two 1\.0"):
        drivers.load("tpb.meters", "same")


def test_an_unknown_name_gets_near_misses_and_the_list(acme: None) -> None:
    with pytest.raises(BadInput) as caught:
        drivers.load("tpb.engines", "amce")
    assert caught.value.lines()[:2] == ["engine 'amce' is not known.", "Did you mean acme?"]
    assert "acme (tpb-acme 3.2.1)" in caught.value.lines()[2]


def test_every_known_plugin_of_the_clone_exists_and_its_hint_names_its_folder() -> None:
    root = known.clone_root()
    assert root is not None
    for names in known.KNOWN.values():
        for distribution in names.values():
            hint = known.install_hint(distribution)
            folder = root / "plugins" / distribution
            assert (
                hint.startswith("Install it:  pip install -e") if (folder / "pyproject.toml").exists() else hint.startswith(known.PLANNED)
            )


def test_drivers_need_the_standard_library_and_stevedore_alone(acme: None) -> None:
    code = (
        "import sys\n"
        "absent = {'hydra', 'omegaconf', 'pluggy', 'numpy', 'rich', 'platformdirs', 'psutil', 'duckdb', 'pyarrow', 'typer'}\n"
        "class Wall:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in absent:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Wall())\n"
        "from tpb_core import drivers\n"
        "print(drivers.load('tpb.engines', 'acme').__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "AcmeEngine", done.stderr
