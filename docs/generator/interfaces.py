"""The interfaces that plugin authors implement, from the classes themselves."""

from __future__ import annotations

import inspect
from typing import Any

from generator.markdown import code, indented, table
from tpb_core import api
from tpb_core.api import versions
from tpb_core.hooks import specs

_CLASSES: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    (
        "tpb.engines",
        "ENGINE_INTERFACE",
        (api.Engine, api.Capabilities, api.EngineDescription, api.EngineContext, api.EngineSink, api.Tokenizer),
    ),
    ("tpb.meters", "METER_INTERFACE", (api.Meter, api.MeterContext, api.PowerControl)),
    ("tpb.prompts", "PROMPTS_INTERFACE", (api.PromptSource, api.Prompt, api.PromptContext)),
    ("tpb.attributors", "ATTRIBUTOR_INTERFACE", (api.Attributor, api.RunView, api.Ledger)),
)


def page() -> str:
    """Groups and versions, then each class with its methods."""
    lines = [
        "# Interfaces",
        "",
        "A plugin imports `tpb_core.api` (standard library only) and, for attributors, `tpb_core.energy`; in tests `tpb_core.testing`."
        " A plugin is loaded where the major number of its `interface_version` is the core's and its minor number is not newer.",
        "",
        *table(
            ("entry-point group", "class", "version"),
            [(code(g), code(f"tpb_core.api.{c[0].__name__}"), getattr(versions, v)) for g, v, c in _CLASSES],
        ),
        "`tpb.hooks` takes a module or object with functions marked `tpb_core.hooks.hookimpl`, `tpb.conf` a package with YAML presets.",
        "",
    ]
    for group, _, classes in _CLASSES:
        lines += [f"## `{group}`", ""]
        for each in classes:
            lines += [f"### {each.__name__}", "", *indented(_described(each))]
    lines += ["## `tpb.hooks`", ""]
    for name, function in inspect.getmembers(specs, inspect.isfunction):
        if function.__module__ == specs.__name__:
            lines += [f"### {name}", "", *indented(f"{name}{_signature(function)}\n\n{inspect.getdoc(function)}")]
    return "\n".join(lines)


def _described(each: type) -> str:
    parts = [inspect.getdoc(each) or ""]
    fields = [f"    {name}: {annotation}" for name, annotation in vars(each).get("__annotations__", {}).items() if not name.startswith("_")]
    if fields:
        parts.append("Attributes:\n" + "\n".join(fields))
    for name, member in vars(each).items():
        function = member.__func__ if isinstance(member, classmethod) else member
        if inspect.isfunction(function) and not name.startswith("_"):
            doc = (inspect.getdoc(function) or "").replace("\n", "\n    ")
            parts.append(f"{name}{_signature(function)}\n    {doc}".rstrip())
    return "\n\n".join(parts)


def _signature(function: Any) -> str:
    parameters = [p for name, p in inspect.signature(function).parameters.items() if name not in ("self", "cls")]
    return str(inspect.Signature(parameters, return_annotation=inspect.signature(function).return_annotation)).replace("'", "")
