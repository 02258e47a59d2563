"""amdsmi: import it, initialise it, and say in words what is missing where that fails."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Callable
from typing import Any

from tpb_core.api import Reason, Unavailable

NO_PERMISSION, DRIVER_NOT_LOADED = 10, 34
"""amdsmi_status_t."""
ABSENT = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
"""What the driver writes where it has no value."""


def load_binding() -> Any:
    """The module `amdsmi`. Raises Unavailable: `not_installed` without the module, `no_sensor` without ROCm's library."""
    fix = "Install ROCm's amd-smi, or: pip install amdsmi==VERSION_OF_ROCM"
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # without its library it prints what is missing, and then raises KeyError
            return importlib.import_module("amdsmi")
    except ImportError:
        raise Unavailable("the Python package amdsmi is not installed", reason=Reason.NOT_INSTALLED, fix=fix) from None
    except (OSError, KeyError) as error:
        raise Unavailable(f"no ROCm here: libamd_smi.so was not found ({error})", reason=Reason.NO_SENSOR, fix=fix) from error
    except AttributeError as error:
        what = f"amdsmi and the installed ROCm are of different versions ({error})"
        raise Unavailable(what, reason=Reason.UNSUPPORTED, fix=fix) from error


def start_amdsmi(smi: Any) -> None:
    """Initialise the library for GPUs. Raises Unavailable."""
    try:
        smi.amdsmi_init(smi.AmdSmiInitFlags.INIT_AMD_GPUS)
    except smi.AmdSmiException as error:
        code = code_of(error)
        if code == NO_PERMISSION:
            fix = "sudo usermod -aG render,video $USER    (then log in again)"
            raise Unavailable("this user may not open the AMD GPUs", reason=Reason.NO_PERMISSION, fix=fix) from error
        if code == DRIVER_NOT_LOADED:
            raise Unavailable("the amdgpu driver is not loaded", reason=Reason.NO_SENSOR, fix="sudo modprobe amdgpu") from error
        raise Unavailable(f"amdsmi does not start: {one_line(error)}", reason=Reason.UNSUPPORTED, fix="amd-smi list") from error


def code_of(error: Exception) -> int | None:
    """The status code of an amdsmi exception."""
    code = getattr(error, "err_code", None)
    return int(code) if isinstance(code, int) else None


def one_line(error: Exception) -> str:
    """An error in one line: amdsmi writes them over several."""
    return " ".join(str(error).split())


def ask(smi: Any, call: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or None where this GPU or driver has none."""
    try:
        return call(*arguments)
    except (smi.AmdSmiException, KeyError):
        return None


def number(value: Any) -> float | None:
    """A number of amdsmi's, None for `N/A` and for what stands for it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value in ABSENT:
        return None
    return float(value)
