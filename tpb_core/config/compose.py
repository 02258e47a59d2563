"""From what the user typed to one point: Hydra composes names and values, the dataclasses of the chosen plugins check them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tpb_core.api.errors import BadInput, PluginFault, Refused
from tpb_core.config.chosen import Chosen, choose, choose_engine, choose_load
from tpb_core.config.groups import AUTO, GROUPS
from tpb_core.config.origin import Origin
from tpb_core.config.schema import OutOptions, Point, RunOptions, SamplingOptions

UNHASHED_RUN_OPTIONS = ("repeats", "order", "rerun", "until_ci", "max_repeats", "until_saturated")
"""Options of the plan: they say how often and in which order a point is measured, not what is measured."""

UNHASHED_SECTIONS = ("out", "slo")
"""Where results go and how they are judged."""


def compose(words: Sequence[str]) -> Point:
    """The point that these overrides describe; no words: the default run.

    Each word is `group=name` or `option.path=value`, with or without a leading `+`. Raises BadInput for whatever cannot be used,
    PluginFault and Refused for plugins that cannot.
    """
    from tpb_core.config import hydra_compose
    from tpb_core.config.folders import preset_file
    from tpb_core.config.secrets import redacted, redacted_words, secret_keys
    from tpb_core.config.typed import as_dataclass, typed

    composed, choices, meter_auto = hydra_compose.composed(words)
    _name_interpreter(composed)
    presets = [path for group, name in choices.items() if isinstance(name, str) and (path := preset_file(group, name)) is not None]
    origin = Origin(words, presets)
    broken: dict[str, str] = {}
    if meter_auto:
        broken = _leave_out_broken_meters(composed)
    chosen = _chosen(composed, origin)
    if meter_auto:
        chosen = _usable_meters(composed, chosen)
    config = typed(composed, chosen, origin)
    secrets = secret_keys(chosen)
    stored = redacted(config, secrets)
    engine = dict(config["engine"])
    if engine.get("python") is not None:
        from tpb_core.config.interpreter import find_python

        engine["python"] = find_python(engine["python"])
    for attributor in (c for c in chosen if c.group == "attributor"):  # a value that it refuses is told before hours of measuring
        attributor.config_class(**config["attributor"][attributor.section.removeprefix("attributor.")])
    return Point(
        engine=engine,
        meters=config.get("meter", {}),
        prompts=config["prompts"],
        attributors=list(config.get("attributor", {}).values()),
        load=next(c for c in chosen if c.group == "load").config_class(**config["load"]),
        sampling=as_dataclass(SamplingOptions, config["sampling"]),
        run=as_dataclass(RunOptions, config["run"]),
        out=as_dataclass(OutOptions, config["out"]),
        choices=_choices(choices, config, meter_auto, broken),
        config=stored,
        point=point_hash(stored),
        overrides=redacted_words(words, secrets),
    )


def point_hash(config: Mapping[str, Any]) -> str:
    """Twelve hex digits of the configuration without output folder, targets and plan. Equal for equal measurements on any machine."""
    kept = {key: value for key, value in config.items() if key not in UNHASHED_SECTIONS}
    kept["run"] = {key: value for key, value in config["run"].items() if key not in UNHASHED_RUN_OPTIONS}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _chosen(composed: Mapping[str, Any], origin: Origin) -> list[Chosen]:
    chosen = [
        choose_engine(_name(composed, "engine"), composed["engine"].get("python")),
        choose("prompts", "tpb.prompts", _name(composed, "prompts"), "prompts"),
        choose_load(_name(composed, "load")),
    ]
    for group in (g for g in GROUPS.values() if g.several):
        assert group.entry_points is not None
        section = composed.get(group.name) or {}
        if not isinstance(section, Mapping):
            raise BadInput(f"{group.name}: takes options, not the value {section!r}.")
        for key, options in section.items():
            name = options.get("name") if isinstance(options, Mapping) else None
            if name is None:
                raise _not_chosen(group.name, group.entry_points, key, list(section), origin)
            chosen.append(choose(group.name, group.entry_points, name, f"{group.name}.{key}"))
    return chosen


def _name_interpreter(composed: dict[str, Any]) -> None:
    from tpb_core.config.interpreter import named

    engine = composed.get("engine")
    if isinstance(engine, dict) and isinstance(engine.get("name"), str) and isinstance(engine.get("python"), str):
        engine["python"] = named(engine["python"], engine["name"])


def _name(composed: Mapping[str, Any], group: str) -> str:
    section = composed.get(group)
    if not isinstance(section, Mapping) or not isinstance(section.get("name"), str):
        raise BadInput(f"No {group} is chosen.", f"Type:  {group}=NAME", ["See what there is:  tpb plugins list"])
    return str(section["name"])


def _not_chosen(group: str, entry_points: str, key: str, present: list[str], origin: Origin) -> BadInput:
    """Options were given for a meter or attributor that is not in the run."""
    from tpb_core import drivers

    drivers.find(entry_points, key)  # says that it is not known, or not installed
    others = [name for name in present if name != key]
    return BadInput(
        f"{group}.{key}: options are given, but {group} {key!r} is not chosen{origin.of(f'{group}.{key}')}.",
        f"Choose it too:  '+{group}=[{','.join([*others, key])}]'",
    )


def _leave_out_broken_meters(composed: dict[str, Any]) -> dict[str, str]:
    """`meter=auto` works although somebody's plugin cannot be loaded; returns what is wrong with each, to be shown and stored."""
    from tpb_core import drivers

    broken: dict[str, str] = {}
    for key in [key for key, given in composed["meter"].items() if given == {"name": key}]:
        try:
            drivers.load("tpb.meters", key)
        except (PluginFault, Refused) as error:
            broken[key] = error.what
            del composed["meter"][key]
    return broken


def _usable_meters(composed: dict[str, Any], chosen: Sequence[Chosen]) -> list[Chosen]:
    """`meter=auto` is every meter that reads the engine's kind of time and that needs no option which was not given."""
    from tpb_core.config.options import option_table
    from tpb_core.config.typed import missing_options

    virtual = next(c for c in chosen if c.group == "engine").virtual_time
    kept = []
    for choice in chosen:
        if choice.group == "meter":
            key = choice.section.removeprefix("meter.")
            given = composed["meter"][key]
            unfit = choice.virtual_time != virtual or missing_options(option_table(choice.config_class), given)
            if unfit and len(given) <= 1:
                del composed["meter"][key]
                continue
        kept.append(choice)
    return kept


def _choices(choices: Mapping[str, Any], config: Mapping[str, Any], meter_auto: bool, broken: dict[str, str]) -> dict[str, Any]:
    """Choice of each group, for the manifest: names of presets where presets were chosen, lists where several may be."""
    told: dict[str, Any] = {name: choices.get(name) for name in GROUPS}
    told |= {name: value for name, value in choices.items() if name not in GROUPS}
    for group in (g.name for g in GROUPS.values() if g.several):
        told[group] = list(config.get(group, {}))
    return {**told, f"meter_{AUTO}": meter_auto, "meter_broken": broken}
