"""The distribution: entry points resolve, importing it is light, every option is explained."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from tpb_core.api import ATTRIBUTOR_INTERFACE, Attributor

NAMES = ("differencing", "disaggregated", "steps", "totals", "windowed")


@pytest.mark.parametrize("name", NAMES)
def test_entry_points_are_attributors_with_explained_options(name: str) -> None:
    (point,) = [point for point in entry_points(group="tpb.attributors") if point.name == name]
    attributor = point.load()
    assert issubclass(attributor, Attributor)
    assert attributor.interface_version == ATTRIBUTOR_INTERFACE
    assert attributor.scope == ("study" if name == "differencing" else "run")
    for field in dataclasses.fields(attributor.config_class):
        assert field.metadata["help"]
    assert attributor.config_class().name == name


def test_importing_the_package_imports_no_arrays() -> None:
    script = "import sys, tpb_attributors; print(sorted(m for m in ('numpy', 'scipy', 'pyarrow') if m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"
