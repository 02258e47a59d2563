"""Where the stand-in program and bindings are, and how a test puts the program into a folder."""

from __future__ import annotations

import sys
from pathlib import Path

BINDINGS = Path(__file__).parent / "bindings"
"""Folder with modules of the names and signatures of DCGM's Python bindings; the machine file is named by TPB_DCGM_MACHINE."""

SCRIPT = """#!{python}
import sys
sys.path.insert(0, {root!r})
from tpb_core.testing.dcgm_double.dcgmi import main
sys.exit(main({machine!r}, sys.argv[1:]))
"""


def install_dcgmi(folder: Path, machine: Path) -> Path:
    """An executable `dcgmi` in a folder, which shows the machine of a file."""
    path = folder / "dcgmi"
    root = str(Path(__file__).parents[3])
    path.write_text(SCRIPT.format(python=sys.executable, root=root, machine=str(machine)))
    path.chmod(0o755)
    return path
