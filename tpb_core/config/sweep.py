"""Words with several values (`load.batch_size=1,2,4,8`, `range(1,5)`) taken apart into one list of words a point.

Hydra's parser reads them; its sweepers are not used, because order, repeats and what is finished are the planner's business.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from tpb_core.api.errors import BadInput
from tpb_core.config import folders, source
from tpb_core.config.words import quoted, read_word, with_home

UNSWEPT = ("run.repeats", "run.order", "run.rerun", "out.")
"""What belongs to the plan as a whole."""


def expand(words: Sequence[str], *, multirun: bool) -> list[list[str]]:
    """The Cartesian product of all words with several values, the last one varying fastest; a list of one without any.

    What an experiment preset varies comes first, unless the user typed that option. Raises BadInput where several values are given
    without `-m`, and for what cannot be enumerated.
    """
    axes = [*_of_experiments(words), *(_values(text, multirun) for text in words)]
    return [list(point) for point in itertools.product(*axes)]


def _of_experiments(words: Sequence[str]) -> list[list[str]]:
    read = [read_word(text) for text in words]
    typed = {word.key for word in read}
    names = [word.value for word in read if word.key == "experiment" and word.value]
    swept = {key: values for name in names for key, values in folders.swept_by(name).items()}
    return [[f"{key}={value}" for value in values] for key, values in swept.items() if key not in typed]


def _values(text: str, multirun: bool) -> list[str]:
    word = read_word(with_home(text))
    if word.value is None:
        return [text]
    try:
        override = OverridesParser.create().parse_override(f"{word.key}={quoted(word.value)}")
    except HydraException:
        return [text]  # compose says what is wrong with it
    if not override.is_sweep_override():
        return [text]
    if word.key.startswith(UNSWEPT):
        raise BadInput(f"{word.key} belongs to the whole study and takes one value.", f"Type one value:  {word.key}=...")
    if not multirun:
        brackets = f"   or, for both in one run:  '{word.key}=[{word.value}]'" if word.key in ("meter", "attributor") else ""
        raise BadInput(f"{word.key}={word.value} are several values.", f"To measure one after the other:  tpb -m {text}{brackets}")
    return [f"{word.key}={value}" for value in _enumerate(override, word.key)]


def _enumerate(override: Override, key: str) -> list[str]:
    if override.is_interval_sweep():
        raise BadInput(f"{override.input_line}: an interval has no list of values.", f"Type a range or a list:  {key}=1,2,4")
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        pattern = override.value()
        return list(pattern.filter([*folders.presets(key), *source.choices(key)]))  # type: ignore[union-attr]
    return list(override.sweep_string_iterator())
