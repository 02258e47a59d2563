"""The machine that a run was made on, for the manifest: what a reader needs to know before comparing two figures."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import socket
import sys
from pathlib import Path
from typing import Any

import psutil

_NVIDIA = Path("/proc/driver/nvidia/gpus")
_AMD = Path("/sys/class/kfd/kfd/topology/nodes")


def machine_id() -> str:
    """A stable id of this machine that gives nothing away: a hash of /etc/machine-id, else of the hostname."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text:
            return hashlib.sha256(text.encode()).hexdigest()[:16]
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:16]


def describe_environment() -> dict[str, Any]:
    """OS, CPU, memory, container, Python and package versions; GPUs that the operating system knows of."""
    return {
        "os": platform.platform(),
        "kernel": platform.release(),
        "cpu": {"model": _cpu_model(), "cores": psutil.cpu_count(logical=False), "threads": psutil.cpu_count()},
        "memory_bytes": psutil.virtual_memory().total,
        "container": _container(),
        "python": sys.version.split()[0],
        "packages": _packages(),
        "gpus_seen_by_os": gpus_seen_by_os(),
        "machine_id": machine_id(),
    }


def gpus_seen_by_os() -> list[str]:
    """GPUs by their drivers' files, without any vendor library. Empty where there are none (or a container hides them)."""
    found = []
    if _NVIDIA.is_dir():
        found += [f"nvidia {entry.name}" for entry in sorted(_NVIDIA.iterdir())]
    elif devices := sorted(Path("/dev").glob("nvidia[0-9]*")):
        found += [f"nvidia {device.name}" for device in devices]
    for node in sorted(_AMD.glob("*")) if _AMD.is_dir() else []:
        try:
            if int((node / "gpu_id").read_text().strip() or 0):
                found.append(f"amd {node.name}")
        except (OSError, ValueError):
            continue
    return found


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model", "cpu model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _container() -> str | None:
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    return os.environ.get("container") or (  # noqa: SIM112 - systemd spells it so
        "kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else None
    )


def _packages() -> dict[str, str]:
    wanted = ("tpb-", "numpy", "pyarrow", "duckdb", "torch", "transformers", "vllm", "llama-cpp-python", "llama_cpp_python", "nvidia-ml-py")
    found = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if name.startswith(wanted):
            found[name] = distribution.version
    return dict(sorted(found.items()))
