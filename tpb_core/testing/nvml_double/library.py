"""Compile the double's C source into a folder, as the shared library that NVML's callers look for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SONAME = "libnvidia-ml.so.1"
SOURCES = Path(__file__).parent / "src"


def compiler() -> str | None:
    """The C compiler of this machine; None where there is none (tests that need the double are then skipped)."""
    return next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)


def compile_library(folder: Path) -> Path:
    """`folder/libnvidia-ml.so.1`, compiled unless it is there already. Takes a few tenths of a second.

    Raises FileNotFoundError without a C compiler and RuntimeError with the compiler's words where it fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / SONAME
    if library.exists():
        return library
    program = compiler()
    if program is None:
        raise FileNotFoundError("no C compiler: the NVML double needs gcc or clang (Debian: apt install gcc libc6-dev)")
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    unfinished = folder / f"{SONAME}.part"
    command = [program, "-O2", "-shared", "-fPIC", "-fvisibility=hidden", f"-Wl,-soname,{SONAME}", "-o", str(unfinished), *sources, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the NVML double did not compile: {done.stderr.strip()}")
    unfinished.rename(library)
    return library
