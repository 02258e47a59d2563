"""nvidia-ml-py: import it, start NVML, and say in words what is missing where that fails."""

from __future__ import annotations

import importlib
from typing import Any

from tpb_core.api import Reason, Unavailable

LOST = ("NVMLError_GpuIsLost", "NVMLError_Uninitialized", "NVMLError_ResetRequired", "NVMLError_DriverNotLoaded", "NVMLError_NotFound")
"""Errors after which handles have to be fetched again: the driver was reset, or the device went away."""


def load_binding() -> Any:
    """The module `pynvml` of nvidia-ml-py. Raises Unavailable (`not_installed`) where it is missing or another project's."""
    fix = "pip install nvidia-ml-py    (and not 'pynvml', another project with a module of this name)"
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        raise Unavailable("the Python package nvidia-ml-py is not installed", reason=Reason.NOT_INSTALLED, fix=fix) from None
    if not hasattr(nvml, "NVML_FI_DEV_POWER_INSTANT"):
        what = "the installed module 'pynvml' is too old, or of another project: it knows no instantaneous power"
        raise Unavailable(what, reason=Reason.NOT_INSTALLED, fix=fix)
    return nvml


def start_nvml(nvml: Any) -> None:
    """Initialise NVML. Raises Unavailable with `no_sensor`, `no_permission` or `unsupported`."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise _unavailable(nvml, error) from error


def _unavailable(nvml: Any, error: Exception) -> Unavailable:
    if isinstance(error, nvml.NVMLError_LibraryNotFound):
        return Unavailable(
            "no NVIDIA driver here: libnvidia-ml.so.1 was not found",
            reason=Reason.NO_SENSOR,
            fix="Install the NVIDIA driver; in a container, start it with GPUs (docker run --gpus all).",
        )
    if isinstance(error, nvml.NVMLError_DriverNotLoaded):
        return Unavailable("the NVIDIA driver is not loaded", reason=Reason.NO_SENSOR, fix="sudo modprobe nvidia    (then: nvidia-smi)")
    if isinstance(error, nvml.NVMLError_NoPermission):
        return Unavailable(
            "this user may not open the NVIDIA devices", reason=Reason.NO_PERMISSION, fix="ls -l /dev/nvidia*    (then join their group)"
        )
    if isinstance(error, nvml.NVMLError_LibRmVersionMismatch):
        what = "library and kernel module of the NVIDIA driver are of different versions (it was updated while loaded)"
        return Unavailable(what, reason=Reason.UNSUPPORTED, fix="Reboot, or unload and load the nvidia modules.")
    return Unavailable(f"NVML does not start: {error}", reason=Reason.UNSUPPORTED, fix="nvidia-smi")


def is_lost(nvml: Any, error: Exception) -> bool:
    """Whether an error means that handles have to be fetched again."""
    return isinstance(error, tuple(getattr(nvml, name) for name in LOST if hasattr(nvml, name)))


def text_of(value: Any) -> str:
    """A string from the driver, which older bindings return as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
