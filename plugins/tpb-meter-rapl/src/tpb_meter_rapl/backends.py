"""Choosing the counters that can be read here, through powercap files or perf events."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tpb_core.api import EventCode, Reason, Unavailable
from tpb_meter_rapl import access
from tpb_meter_rapl.counter import Counter
from tpb_meter_rapl.perf import perf_counters, read_pmu
from tpb_meter_rapl.powercap import find_counters, without_duplicates, without_mirrors, zone_folders
from tpb_meter_rapl.processor import Processor

Report = Callable[[EventCode, str, str | None], None]


@dataclass
class Found:
    """Readable counters, and what was left out because it repeats one of them."""

    backend: str
    counters: Sequence[Counter]
    repeats: list[str] = field(default_factory=list)


def powercap_backend(root: Path, processor: Processor, perf_root: Path, report: Report) -> Found:
    """Readable powercap counters. Zones that cannot be read beside ones that can are reported as events. Raises Unavailable."""
    everything = find_counters(root)
    if not everything:
        raise access.masked(root) if zone_folders(root) else access.no_tree(root)
    readable, failures = [], []
    for counter in everything:
        try:
            counter.open()
            counter.read_j()
        except (OSError, ValueError) as error:
            failures.append((counter, error))
        else:
            readable.append(counter)
    try:
        kept, repeats = without_duplicates(readable)
        if processor.is_amd:
            kept, mirrors = without_mirrors(kept)
            repeats += mirrors
    finally:
        for counter in everything:
            counter.close()
    if not kept:
        if all(isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM) for _, cause in failures):
            raise access.no_permission(root, perf_offered=read_pmu(perf_root) is not None)
        raise Unavailable(f"no RAPL counter gives a reading: {failures[0][1]}", reason=Reason.UNSUPPORTED, fix="meter.rapl.backend=perf")
    covered = {counter.zone for counter in kept}
    for counter, cause in failures:
        if counter.zone not in covered:
            report(EventCode.METER_UNAVAILABLE, f"RAPL zone {counter.zone.sensor} is left out: {cause}", None)
    return Found("sysfs", kept, [counter.source for counter in repeats])


def perf_backend(perf_root: Path, cpu_root: Path, processor: Processor) -> Found:
    """Counters from perf events, opened once to see whether that is permitted. Raises Unavailable."""
    pmu = read_pmu(perf_root)
    if pmu is None:
        raise access.no_perf(perf_root)
    counters = perf_counters(pmu, cpu_root, processor)
    if processor.is_amd and any(counter.zone.die is not None for counter in counters):
        # Dies of one AMD package may mirror one counter. Perf events count from their opening, so mirrors cannot be told from others.
        raise Unavailable(
            "perf events of an AMD package with several dies may repeat one counter",
            reason=Reason.UNSUPPORTED,
            fix="meter.rapl.backend=sysfs",
        )
    usable: list[Counter] = []
    refusal: OSError | None = None
    for counter in counters:
        try:
            counter.open()
            usable.append(counter)
        except OSError as error:
            refusal = error
        finally:
            counter.close()
    if not usable:
        assert refusal is not None, "a PMU without events is no PMU"
        raise access.perf_refused(refusal)
    return Found("perf", usable)
