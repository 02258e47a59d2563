"""What is known of GPU power sensors, from the table that the meters use."""

from __future__ import annotations

from generator.markdown import code, table
from tpb_core.api.gpu_sensors import AVERAGE, SENSOR_CLASSES, Gain, Timing


def page() -> str:
    """One row a class of models, and the readings that are averages whatever the model."""
    timing = [(code(row.name), code(row.pattern), *_timing(row.instant)) for row in SENSOR_CLASSES]
    average = ("every model", "field 185; power usage on Ampere (except GA100) and newer", *_timing(AVERAGE))
    gains = [(code(row.name), *_gain(row.gain)) for row in SENSOR_CLASSES if row.gain is not None]
    return "\n".join(
        [
            "# Power sensors in GPUs",
            "",
            "What the meters of NVIDIA GPUs know beforehand. A model in no row gets no figure: its averaging time stays unknown, and phases"
            " from its power readings are NULL with `averaging_unknown`, until somebody characterises the sensor."
            " An energy counter needs no averaging time. `u` are standard uncertainties.",
            "",
            "## Averaging window and refresh",
            "",
            *table(("class", "model name matches", "window ms", "u ms", "refresh ms", "u ms", "source"), [*timing, average]),
            "## Gain and offset",
            "",
            "Priors that enter total intervals only. Where there are none, `u_total_j` is NULL with `no_calibration_data`.",
            "",
            *table(("class", "u of gain", "u of offset, W", "correlation between cards", "source"), gains),
        ]
    )


def _timing(timing: Timing) -> tuple[str, ...]:
    numbers = (timing.averaging_ms, timing.averaging_u_ms, timing.update_ms, timing.update_u_ms)
    return (*("unknown" if number is None else f"{number:.3g}" for number in numbers), timing.source)


def _gain(gain: Gain | None) -> tuple[str, ...]:
    assert gain is not None
    return (f"{gain.gain_u_rel:.1%}", f"{gain.offset_u_w:g}", f"{gain.common_r:g}", gain.source)
