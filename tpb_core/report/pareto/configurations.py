"""Configurations: runs of one point on one machine with one set of sensors, taken together; and which may stand side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from tpb_core.api.errors import Refused
from tpb_core.report.comparison.admission import Permissions, admit, refuse_other_scopes, why_invalid
from tpb_core.report.comparison.comparison import sensors_of, uncalibrated_of
from tpb_core.report.comparison.energy_figures import Energy, scope_energy
from tpb_core.report.comparison.log_figure import LogFigure
from tpb_core.report.comparison.pairing import pairs_of
from tpb_core.report.comparison.ratio import Ratio, Spread, ratio_of
from tpb_core.report.comparison.records import RunRecord

Count = Callable[[RunRecord], float | None]
"""What a run's energy is divided by."""
_MOST_VARIED = 8
_NOT_A_LABEL = ("out.", "run.", "load.requests", "load.duration_s")
_SAME_WORK = 0.02
SIMULATED = "simulated, and there are real runs"


@dataclass(frozen=True)
class Configuration:
    """Repeats of one configuration."""

    label: str
    records: tuple[RunRecord, ...]

    def mean(self, value: Callable[[RunRecord], float | None]) -> float | None:
        """Arithmetic mean over the runs; None where a run has no value."""
        values = [value(record) for record in self.records]
        known = [each for each in values if each is not None]
        return fmean(known) if known and len(known) == len(values) else None

    def energies(self, scope: str) -> list[Energy]:
        """The energy of each run."""
        return [scope_energy(record, scope) for record in self.records]

    def figures(self, scope: str, count: Count) -> list[LogFigure] | None:
        """ln of the energy over a count, of each run; None where a run has none."""
        found = [energy.per(count(record)) for record, energy in zip(self.records, self.energies(scope), strict=True)]
        known = [figure for figure in found if figure is not None]
        return known if len(known) == len(found) else None

    def value(self, scope: str, count: Count) -> Ratio | None:
        """The figure itself with its intervals: its ratio to exactly 1."""
        figures = self.figures(scope, count)
        if not figures:
            return None
        return ratio_of([LogFigure(0.0)] * len(figures), figures, paired=len(figures) > 1)


@dataclass
class Field:
    """Configurations that stand side by side, and `(run_id, reason)` of what was left out or taken in because it was asked for."""

    configurations: list[Configuration]
    left_out: list[tuple[str, str]] = field(default_factory=list)
    tolerated: list[tuple[str, str]] = field(default_factory=list)


def field_of(records: Sequence[RunRecord], scope: str, permissions: Permissions) -> Field:
    """Group the runs that may take part. Raises Refused where nothing is left, or where totals hold different things."""
    admitted = admit(records, scope, permissions)
    kept, left_out = [], list(admitted.left_out)
    real = any(not record.simulated for record in admitted.records)
    for record in admitted.records:
        reason = SIMULATED if record.simulated and real and not permissions.simulated else _why_without(record, scope)
        if reason:
            left_out.append((record.run_id, reason))
        else:
            kept.append(record)
    if not kept:
        notes = [f"  {run_id}: {reason}" for run_id, reason in left_out[:20]]
        raise Refused("no run can take part.", "Measure something, or take in what was left out: --with-invalid, --with-estimates.", notes)
    refuse_other_scopes(kept, scope)
    groups: dict[tuple[Any, ...], list[RunRecord]] = {}
    for record in kept:
        point = record.run["point"]
        key = (point, record.run["arm"], record.machine, *sorted(sensors_of([record], scope))) if point is not None else (record.run_id,)
        groups.setdefault(key, []).append(record)
    labels = _labels([group[0] for group in groups.values()])
    found = [Configuration(label, tuple(group)) for label, group in zip(labels, groups.values(), strict=True)]
    return Field(found, left_out, [row for row in admitted.tolerated if row[0] in {record.run_id for record in kept}])


def _why_without(record: RunRecord, scope: str) -> str | None:
    energy = scope_energy(record, scope)
    return None if energy.joules is not None else f"no energy of {scope}: {energy.reason or why_invalid(record)}"


def deciding(base: Configuration, other: Configuration, scope: str, ratio: Ratio) -> Spread | None:
    """The interval that decides between two configurations: the total one; one rig's own where calibration data are missing."""
    if ratio.total is not None:
        return ratio.total
    return ratio.within if sensors_of(base.records, scope) == sensors_of(other.records, scope) else None


def energy_ratio(base: Configuration, other: Configuration, scope: str, count: Count) -> Ratio | None:
    """other / base, in pairs where the study made them so; None where either has no figure."""
    pairs = pairs_of(base.records, other.records)
    groups = (base, other)
    if pairs is not None:
        groups = (
            Configuration(base.label, tuple(pair[0] for pair in pairs)),
            Configuration(other.label, tuple(pair[1] for pair in pairs)),
        )
    figures = [group.figures(scope, count) for group in groups]
    if figures[0] is None or figures[1] is None:
        return None
    return ratio_of(figures[0], figures[1], paired=pairs is not None)


def told_apart(base: Configuration, other: Configuration, scope: str, count: Count) -> bool:
    """Whether the energies of two configurations differ by more than their uncertainty."""
    ratio = energy_ratio(base, other, scope, count)
    spread = None if ratio is None else deciding(base, other, scope, ratio)
    return spread is not None and not spread.holds_one


def remarks(field: Field, scope: str) -> list[str]:
    """What a reader must know: other work, sensors without calibration data, runs left out."""
    records = [record for configuration in field.configurations for record in configuration.records]
    said = []
    models = sorted({str(record.run["model"]) for record in records})
    if len(models) > 1:
        said.append(f"Not one model: {', '.join(models)}. A token of one is not a token of the other.")
    for column, name in (("mean_input_tokens", "input"), ("mean_output_tokens", "output")):
        lengths = [length for record in records if (length := (record.performance or {}).get(column))]
        if lengths and max(lengths) > (1 + _SAME_WORK) * min(lengths):
            said.append(f"Not the same work: mean {name} from {min(lengths):.4g} to {max(lengths):.4g} tokens a request.")
    uncalibrated = uncalibrated_of(records, scope)
    if uncalibrated and len({frozenset(sensors_of([record], scope)) for record in records}) > 1:
        said.append(
            f"no_calibration_data: nothing is known of the errors of {', '.join(uncalibrated)}; what they measured cannot be ranked."
        )
    said += [f"Taken in because you asked: {run_id}: {reason}" for run_id, reason in field.tolerated]
    said += [f"Left out: {run_id}: {reason}" for run_id, reason in field.left_out]
    return said


def _labels(records: Sequence[RunRecord]) -> list[str]:
    """What tells the configurations apart: the options that vary, engine and load otherwise."""
    configs = [dict(_flat(record.manifest.get("config") or {})) for record in records]
    keys = dict.fromkeys(key for config in configs for key in config if not key.startswith(_NOT_A_LABEL))
    varied = [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1][:_MOST_VARIED]
    labels = []
    for record, config in zip(records, configs, strict=True):
        parts = [_option(key, config[key]) for key in varied if config.get(key) not in (None, False)]
        names = [record.run[key] for key in ("engine", "quantization", "load", "load_size") if record.run[key] is not None]
        labels.append(" ".join(parts) or " ".join(f"{name:g}" if isinstance(name, float) else str(name) for name in names))
    same = {label for label in labels if labels.count(label) > 1}
    return [f"{label} ({record.run_id})" if label in same else label for label, record in zip(labels, records, strict=True)]


def _option(key: str, value: Any) -> str:
    """`closed` for load.name=closed, `batch_size=8` for load.batch_size=8; options of meters keep their place."""
    if key in ("load.name", "engine.name"):
        return str(value)
    return f"{key.removeprefix('load.').removeprefix('engine.')}={value}"


def _flat(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, each in value.items():
        if isinstance(each, dict):
            yield from _flat(each, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", each
