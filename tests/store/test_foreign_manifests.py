"""Manifests that other programs wrote: whatever stands in them, the answer is a bundle or a refusal by place, never a traceback."""

from __future__ import annotations

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpb_core.api.errors import BadBundle
from tpb_core.store.bundle import Bundle
from tpb_core.store.database_rows import rows_of

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in _places(item, (*path, key)))]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, dict[str, Any]]:
    conftest = next(plugin for plugin in request.config.pluginmanager.get_plugins() if hasattr(plugin, "write_bundle"))
    return conftest.write_bundle(tmp_path_factory.mktemp("foreign"), conftest.MANIFEST, conftest.tables()), conftest.MANIFEST


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_anything_anywhere_is_read_or_refused(written: tuple[Path, dict[str, Any]], data: st.DataObject) -> None:
    folder, original = written
    manifest = copy.deepcopy(original)
    *path, last = data.draw(st.sampled_from(_places(manifest)[1:]))
    holder: Any = manifest
    for key in path:
        holder = holder[key]
    if isinstance(holder, dict) and data.draw(st.booleans()):
        del holder[last]
    else:
        holder[last] = data.draw(_JSON)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with suppress(BadBundle):
        rows_of(Bundle.open(folder))


@pytest.mark.parametrize(
    ("key", "value", "column", "row"),
    [
        ("engine", [], "engine", None),
        ("nodes", [{}, 3], "nodes", 1),
        ("clock", {"anchors": [{"run_ns": 1}]}, "clock.anchors.realtime_ns", 0),
        ("clock", {"virtual": "no"}, "clock.virtual", None),
        ("engine", {"instances": [{"role": "mixed"}]}, "engine.instances.instance", 0),
        ("started_utc", 7, "started_utc", None),
    ],
)
def test_shapes_are_refused_by_key(written: tuple[Path, dict[str, Any]], key: str, value: Any, column: str, row: int | None) -> None:
    folder, original = written
    (folder / "manifest.json").write_text(json.dumps({**original, key: value}))
    with pytest.raises(BadBundle) as caught:
        Bundle.open(folder)
    assert (caught.value.column, caught.value.row) == (column, row)
