"""Why RAPL cannot be read here, and exactly what to type. The three ways past a permission refusal are all spelled out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tpb_core.api import Reason, Unavailable


def no_permission(root: Path, *, perf_offered: bool) -> Unavailable:
    """The counters exist and this user may not read them."""
    python = os.path.realpath(sys.executable)
    udev_rule = 'SUBSYSTEM=="powercap", KERNEL=="intel-rapl*", ACTION=="add", RUN+="/bin/chmod a+r /sys%p/energy_uj"'
    capability = [
        "2. or only this Python, through perf events:",
        f"     sudo setcap cap_perfmon+ep {python}     and run with meter.rapl.backend=perf",
        "   or any user of this machine: sudo sysctl kernel.perf_event_paranoid=0     and run with meter.rapl.backend=perf",
    ]  # fmt: skip
    if not perf_offered:
        capability = [
            "2. or only this Python (this kernel offers no RAPL perf events, so it needs the right to read any file):",
            f"     sudo setcap cap_dac_read_search+ep {python}",
        ]
    fix = [
        "Since CVE-2020-8694 only root may read the counters. One of these:",
        f"1. for everybody, until the next boot: sudo chmod a+r {root}/intel-rapl*/energy_uj",
        f"   for good: echo '{udev_rule}' | sudo tee /etc/udev/rules.d/70-tpb-rapl.rules",
        "             sudo udevadm control --reload && sudo udevadm trigger --action=add --subsystem-match=powercap",
        *capability,
        '3. or run as root: sudo -E "$(command -v tpb)" ...',
    ]
    return Unavailable(f"the energy counters under {root} may not be read by this user", reason=Reason.NO_PERMISSION, fix="\n".join(fix))


def masked(root: Path) -> Unavailable:
    """The class folder lists zones whose files are hidden: a container runtime masks them."""
    fix = (
        f"Container runtimes hide the powercap files. Mount them: docker run -v /sys/devices/virtual/powercap:/host/powercap:ro ..., "
        f"then meter.rapl.root=/host/powercap/intel-rapl. (Looked in {root}.)"
    )
    return Unavailable("RAPL zones are listed but their counters are hidden from this container", reason=Reason.NO_PERMISSION, fix=fix)


def no_tree(root: Path) -> Unavailable:
    """There is no RAPL here."""
    fix = (
        "On a physical x86 machine: sudo modprobe intel_rapl_msr. Virtual machines and most ARM machines have no RAPL: "
        "use a meter of the host (ipmi, redfish), a wall meter (csv, command), or declare a power model (meter.estimate.w_per_core=)."
    )
    return Unavailable(f"no RAPL zone under {root}", reason=Reason.NO_SENSOR, fix=fix)


def no_perf(perf_root: Path) -> Unavailable:
    """There is no RAPL among the perf event sources."""
    fix = "On a physical x86 machine: sudo modprobe rapl. Otherwise: meter.rapl.backend=sysfs"
    return Unavailable(f"no RAPL event under {perf_root}", reason=Reason.NO_SENSOR, fix=fix)


def perf_refused(error: OSError) -> Unavailable:
    """perf_event_open failed."""
    if error.errno in (1, 13):
        python = os.path.realpath(sys.executable)
        fix = (
            f"sudo setcap cap_perfmon+ep {python}, or sudo sysctl kernel.perf_event_paranoid=0, or run as root. "
            "In a container: --cap-add PERFMON and a seccomp profile that allows perf_event_open."
        )
        return Unavailable(f"RAPL perf events may not be opened by this user ({error.strerror})", reason=Reason.NO_PERMISSION, fix=fix)
    fix = "Use the powercap files instead: meter.rapl.backend=sysfs"
    return Unavailable(f"the kernel does not open RAPL perf events ({error.strerror or error})", reason=Reason.UNSUPPORTED, fix=fix)
