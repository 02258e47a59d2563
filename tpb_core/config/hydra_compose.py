"""The call into Hydra, and its errors put into words that a user of tpb can act on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tpb_core import drivers
from tpb_core.api.errors import BadInput
from tpb_core.config import folders, interpreter, source
from tpb_core.config.groups import CORE_SECTIONS, GROUPS
from tpb_core.config.words import Word, for_hydra, read_word

_VERSION_BASE = "1.3"
_PRIMARY = "tpb"


def composed(words: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """`(configuration, choice of each group, whether the meters are automatic)`. Values are as typed: types join later."""
    source.register()
    extra = folders.extra_groups()
    read = [read_word(text) for text in words]
    elsewhere = any(word.key in ("engine.python", "experiment") for word in read)
    for word in read:
        check_group(word.key, extra)
        if word.key != "engine" or not elsewhere:
            check_choice(word)
    hydra_words = for_hydra(words, extra)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(folders.core_folder()), version_base=_VERSION_BASE):
            config = compose(_PRIMARY, hydra_words, return_hydra_config=True)
    except MissingConfigException as error:
        raise unknown_choice(error.missing_cfg_file or "") from error
    except OverrideParseException as error:
        raise _unreadable(error) from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise BadInput(_reason(error), "See what there is:  tpb plugins list") from error
    choices = {
        group: OmegaConf.to_object(name) if OmegaConf.is_config(name) else name
        for group, name in config.hydra.runtime.choices.items()
        if group != "hydra" and not str(group).startswith("hydra/")
    }
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    plain = {str(key): value for key, value in values.items() if key not in ("hydra", folders.SWEEP)}
    meters = plain.get("meter")
    automatic = bool(meters.pop(source.AUTO_MARK, False)) if isinstance(meters, dict) else False
    return plain, choices, automatic


def check_group(key: str, extra: set[str]) -> None:
    """Refuse a first part of a key that is no group and no section."""
    first = key.partition(".")[0].partition("@")[0]
    permitted = [*GROUPS, *sorted(extra), *CORE_SECTIONS]
    if first not in permitted and not first.startswith("hydra"):
        near = drivers.near_misses(first, permitted)
        fix = f"Did you mean {' or '.join(near)}?" if near else f"Groups and options: {', '.join(permitted)}"
        raise BadInput(f"{first!r} is neither a group nor an option.", fix)


def check_choice(word: Word) -> None:
    """Refuse a typed choice that is not there before Hydra does: it would begin with whatever default is missing.

    An engine that may live in another interpreter is looked for when that interpreter is known.
    """
    for name in word.names:
        if name not in source.choices(word.key) and folders.preset_file(word.key, name) is None:
            raise unknown_choice(f"{word.key}/{name}")


def unknown_choice(config_path: str) -> BadInput:
    """A choice that no source knows: `engine/foo`. Says whether it could be installed, and what is near."""
    group, _, name = config_path.removesuffix(".yaml").rpartition("/")
    known = GROUPS.get(group)
    presets = folders.presets(group)
    available = sorted({*presets, *source.choices(group)})
    near = drivers.near_misses(name, available)
    if known is not None and known.entry_points is not None:
        try:
            drivers.find(known.entry_points, name)
        except BadInput as error:
            notes = [*error.notes, *([f"Presets of {group}: {', '.join(presets)}"] if presets else [])]
            fix = f"Did you mean {' or '.join(near)}?" if near else error.fix
            if group == "engine" and name in interpreter.environments():
                fix = f"There is an environment that has it:  engine.python={name}"
            return BadInput(error.what, fix, notes)
    fix = f"Did you mean {group}={near[0]}?" if near else None
    return BadInput(f"{group} {name!r} is not known.", fix, [f"There is: {', '.join(available) or 'none'}"])


def _unreadable(error: OverrideParseException) -> BadInput:
    key, _, value = str(error.override).lstrip("+").partition("=")
    return BadInput(f"{key}={value} cannot be read: {_reason(error)}", f"Quote the value for the shell and for tpb:  '{key}=\"{value}\"'")


def _reason(error: BaseException) -> str:
    """The most telling line of a chain of Hydra's and OmegaConf's errors."""
    root = error
    while isinstance(root.__cause__, (HydraException, OmegaConfBaseException)):
        root = root.__cause__
    lines = [line.strip() for line in str(root).splitlines() if line.strip()]
    return lines[0] if lines else type(root).__name__
