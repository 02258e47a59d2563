"""One page of a dcgm-exporter as values by entity. Labels say which GPU a sample is of; blanks are left out. Pure reading of text."""

from __future__ import annotations

from dataclasses import dataclass, field

from tpb_meter_dcgm.fields import BY_TAG, Field
from tpb_meter_dcgm.prometheus import Sample, parse_samples
from tpb_meter_dcgm.values import number_of


@dataclass
class PageEntity:
    """An entity of the page with its values by field number."""

    kind: str
    index: int
    uuid: str | None
    model: str | None
    sliced: bool = False
    values: dict[int, tuple[Field, float]] = field(default_factory=dict)
    driver: str | None = None


def parse_page(text: str) -> dict[tuple[str, int], PageEntity]:
    """Entities of a page by (kind, index). Never raises.

    A board that is sliced has its samples once a slice; the first of each field is taken, and the board marked.
    """
    entities: dict[tuple[str, int], PageEntity] = {}
    for sample in parse_samples(text):
        known = BY_TAG.get(sample.metric)
        key = None if known is None else _key(known, sample)
        if known is None or key is None:
            continue
        labels = sample.labels
        entity = entities.setdefault(key, PageEntity(*key, labels.get("UUID") or None, labels.get("modelName") or None))
        entity.driver = entity.driver or labels.get("DCGM_FI_DRIVER_VERSION") or None
        entity.sliced |= bool(labels.get("GPU_I_ID"))
        value = number_of(sample.text, whole=known.whole)
        if value is not None:
            entity.values.setdefault(known.number, (known, value))
    return entities


def _key(known: Field, sample: Sample) -> tuple[str, int] | None:
    text = sample.labels.get("gpu" if known.entity == "gpu" else "cpu", "")
    return (known.entity, int(text)) if text.isascii() and text.isdecimal() and len(text) < 6 else None
