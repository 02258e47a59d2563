"""Opening a bundle: what is in it comes out, and what breaks the format is refused with file, column and row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tpb_core.api.attributor import RunView
from tpb_core.api.errors import BadBundle
from tpb_core.store.bundle import Bundle

MS = 1_000_000
Make = Callable[..., Path]
Manifest = dict[str, Any]
Tables = dict[str, list[dict[str, Any]]]


def _same(one: Bundle, other: Bundle) -> None:
    for channel in one.channels:
        for name in ("t_ns", "half_width_ns", "value"):
            assert np.array_equal(getattr(one.series(channel.channel), name), getattr(other.series(channel.channel), name))
    for table in ("steps", "requests"):
        left, right = one.columns(table), other.columns(table)
        assert left is not None
        assert right is not None
        for name in left:
            assert np.array_equal(left[name].valid, right[name].valid), name
            assert left[name].values[left[name].valid].tolist() == right[name].values[right[name].valid].tolist(), name
    members, others = one.step_members(), other.step_members()
    assert members is not None
    assert others is not None
    for name in ("offsets", "known", "request", "prefill_tokens", "decode_tokens", "emitted_tokens", "kv_tokens"):
        assert np.array_equal(getattr(members, name), getattr(others, name)), name
    stamps, again = one.token_stamps(), other.token_stamps()
    assert stamps is not None
    assert again is not None
    assert all(np.array_equal(a, b) for a, b in zip(stamps, again, strict=True))


def test_what_is_written_comes_out(make_bundle: Make) -> None:
    view: RunView = Bundle.open(make_bundle())
    assert view.run_id == "20260101T000000000Z-00000001"
    assert [(channel.channel, channel.role) for channel in view.channels] == [
        ("n0/gpu0/energy", "primary"),
        ("n0/gpu0/power", "check"),
        ("n0/cpu0/energy", "primary"),
        ("n0/engine/cpu_s", None),
    ]
    assert [(window.window, window.duration_s) for window in view.windows] == [("load", 0.9), ("measure", 0.31)]
    series = view.series("n0/gpu0/energy")
    assert series.t_ns[:3].tolist() == [0, 100 * MS, 200 * MS]
    assert series.value[-1] == pytest.approx(300.0)
    steps, members = view.columns("steps"), view.step_members()
    assert steps is not None
    assert members is not None
    assert steps["prefill_tokens"].values.tolist() == [10, 0, 0]
    assert not steps["draft_tokens"].valid.any()
    assert members.offsets.tolist() == [0, 2, 4, 6]
    assert members.kv_tokens.tolist() == [0, 0, 4, 6, 5, 7]
    stamps = view.token_stamps()
    assert stamps is not None
    assert stamps[0].tolist() == [0, 3, 6]
    assert stamps[1].tolist() == [1100 * MS, 1200 * MS, 1300 * MS] * 2
    assert view.columns("prompts") is None
    with pytest.raises(KeyError):
        view.series("n0/gpu7/energy")


_STRINGS = st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.binary()])
_INTEGERS = st.sampled_from([pa.int64(), pa.uint64(), pa.int32(), pa.uint32()])


def _recast(field: pa.Field, table: pa.Table, data: st.DataObject) -> pa.ChunkedArray:
    column = table[field.name]
    if pa.types.is_string(field.type):
        return column.cast(data.draw(_STRINGS))
    if field.type == pa.int32():
        return column.cast(data.draw(st.sampled_from([pa.int8(), pa.int16(), pa.uint64(), pa.int64()])))
    if field.type == pa.int64():
        return column.cast(data.draw(_INTEGERS)) if field.name in ("step", "kv_tokens") else column.cast(pa.uint64())
    if field.name == "members":
        item = pa.struct([pa.field(name, pa.int64()) for name in data.draw(st.permutations([f.name for f in field.type.value_type]))])
        return column.cast(data.draw(st.sampled_from([pa.list_(item), pa.large_list(item)])))
    if field.name == "token_ns":
        return column.cast(data.draw(st.sampled_from([pa.large_list(pa.uint64()), pa.list_(pa.int64()), pa.list_(pa.int64(), 3)])))
    return column


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_encoding_and_order_reads_the_same(tmp_path_factory: pytest.TempPathFactory, plain: Path, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "manifest.json").write_bytes((plain / "manifest.json").read_bytes())
    for path in plain.glob("*.parquet"):
        table = pq.read_table(path)
        columns = {field.name: _recast(field, table, data) for field in table.schema}
        names = data.draw(st.permutations(list(columns)))
        other = pa.table({name: columns[name] for name in names}).append_column("x_note", pa.array(["kept"] * table.num_rows))
        rows = data.draw(st.permutations(range(min(table.num_rows, 8))))
        order = [*rows, *range(len(rows), table.num_rows)]
        pq.write_table(
            other.take(pa.array(order, pa.int64())),
            folder / path.name,
            compression=data.draw(st.sampled_from(["none", "snappy", "gzip", "zstd", "lz4"])),
            use_dictionary=data.draw(st.booleans()),
            data_page_version=data.draw(st.sampled_from(["1.0", "2.0"])),
            row_group_size=data.draw(st.integers(1, 50)),
            store_schema=data.draw(st.booleans()),
        )
    one, other_bundle = Bundle.open(folder), Bundle.open(plain)
    steps = one.columns("steps")
    assert steps is not None
    assert set(steps["x_note"].values.tolist()) == {"kept"}
    _same(other_bundle, one)


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    conftest = next(plugin for plugin in request.config.pluginmanager.get_plugins() if hasattr(plugin, "write_bundle"))
    folder: Path = conftest.write_bundle(tmp_path_factory.mktemp("plain"), conftest.MANIFEST, conftest.tables())
    return folder


def _drop(key: str, number: int) -> Callable[[Manifest, Tables], None]:
    return lambda manifest, _: manifest["channels"][number].pop(key)


def _channel(number: int, **change: Any) -> Callable[[Manifest, Tables], None]:
    return lambda manifest, _: manifest["channels"][number].update(change)


def _row(table: str, row: int, **change: Any) -> Callable[[Manifest, Tables], None]:
    return lambda _, tables: tables[table][row].update(change)


def _member(step: int, member: int, **change: int) -> Callable[[Manifest, Tables], None]:
    return lambda _, tables: tables["steps"][step]["members"][member].update(change)


_REFUSED: list[tuple[Callable[[Manifest, Tables], None], str, str | None, int | None]] = [
    (lambda m, _: m.update(version="2.0"), "manifest", None, None),
    (lambda m, _: m.update(channels={}), "manifest", "channels", None),
    (lambda m, _: m["channels"].append(m["channels"][0]), "manifest", "channels.channel", 4),
    (_drop("scope", 1), "manifest", "channels.scope", 1),
    (_drop("parent", 2), "manifest", "channels.parent", 2),
    (_channel(0, scope="gpus"), "manifest", "channels.scope", 0),
    (_channel(0, evidence="guessed"), "manifest", "channels.evidence", 0),
    (_channel(0, unit="mJ"), "manifest", "channels.unit", 0),
    (_channel(0, gain="1"), "manifest", "channels.gain", 0),
    (_channel(0, allocated="yes"), "manifest", "channels.allocated", 0),
    (_channel(0, wrap=-1), "manifest", "channels.wrap", 0),
    (lambda m, _: [c.update(role="primary") for c in m["channels"][:2]], "manifest", "channels.role", 1),
    (lambda m, _: [c.update(role="check") for c in m["channels"][:2]], "manifest", "channels.role", 0),
    (_channel(1, kind="energy_counter", unit="J"), "manifest", "channels.role", 1),
    (_channel(2, parent="rack9"), "manifest", "channels.parent", 2),
    (_channel(1, parent="n0/cpu0"), "manifest", "channels.parent", 1),
    (lambda m, _: (m["channels"][2].update(parent="n0/gpu0"), [c.update(parent="n0/cpu0") for c in m["channels"][:2]]),
     "manifest", "channels.parent", 0),
    (_row("samples", 5, channel="n0/gpu3/energy"), "samples", "channel", 5),
    (_row("samples", 6, value=float("nan")), "samples", "value", 6),
    (_row("samples", 6, value=float("inf")), "samples", "value", 6),
    (_row("samples", 7, value=None), "samples", "value", 7),
    (_row("samples", 8, half_width_ns=-1), "samples", "half_width_ns", 8),
    (_row("samples", 9, source_clock="sundial"), "samples", "source_clock", 9),
    (_row("steps", 1, t1_ns=0), "steps", "t1_ns", 1),
    (_row("steps", 1, t0_ns=1099 * MS), "steps", "t0_ns", 1),
    (_row("steps", 2, step=0), "steps", "step", 2),
    (_row("steps", 1, instance="7"), "steps", "instance", 1),
    (_row("steps", 1, time_source="sundial"), "steps", "time_source", 1),
    (_row("steps", 1, kv_tokens=-4), "steps", "kv_tokens", 1),
    (_row("steps", 1, decode_tokens=3), "steps", "members", 1),
    (_member(1, 1, emitted_tokens=2), "steps", "members", 1),
    (_member(1, 1, kv_tokens=-2), "steps", "members", 1),
    (_member(1, 1, request=9), "steps", "members", 1),
    (_row("requests", 1, output_tokens=4, token_ns=None), "requests", "output_tokens", 1),
    (_row("requests", 1, input_tokens=7), "requests", "input_tokens", 1),
    (_row("requests", 1, input_tokens=5), "requests", "input_tokens", 1),
    (_row("requests", 1, cached_tokens=9), "requests", "cached_tokens", 1),
    (_row("requests", 1, request=0), "requests", "request", 1),
    (_row("requests", 1, status="fine"), "requests", "status", 1),
    (_row("requests", 1, role="spare"), "requests", "role", 1),
    (_row("requests", 1, finished_ns=1), "requests", "finished_ns", 1),
    (_row("requests", 1, token_ns=[1, 2]), "requests", "token_ns", 1),
    (_row("requests", 1, token_ns=[3, 2, 5]), "requests", "token_ns", 1),
    (_row("requests", 0, output_tokens=-1, token_ns=None), "requests", "output_tokens", 0),
    (_row("windows", 1, window="load"), "windows", "window", 1),
    (_row("windows", 1, t1_ns=1), "windows", "t1_ns", 1),
    (_row("events", 0, code="it_rained"), "events", "code", 0),
]  # fmt: skip


@pytest.mark.parametrize(("change", "file", "column", "row"), _REFUSED)
def test_what_breaks_the_format_is_refused_by_place(
    make_bundle: Make, change: Callable[[Manifest, Tables], None], file: str, column: str | None, row: int | None
) -> None:
    with pytest.raises(BadBundle) as caught:
        Bundle.open(make_bundle(change))
    assert (Path(caught.value.file).stem, caught.value.column, caught.value.row) == (file, column, row)
    assert caught.value.exit_code == 2


def test_a_decided_primary_makes_the_others_checks(make_bundle: Make) -> None:
    roles = [channel.role for channel in Bundle.open(make_bundle(_channel(1, role="primary"))).channels]
    assert roles == ["check", "primary", "primary", None]


@pytest.mark.parametrize(
    ("table", "column", "kind", "row"),
    [
        ("samples", "t_ns", pa.string(), None),
        ("samples", "t_ns", pa.float64(), None),
        ("requests", "request", pa.bool_(), None),
        ("windows", "window", pa.int32(), None),
    ],
)
def test_a_wrong_type_is_refused(make_bundle: Make, table: str, column: str, kind: pa.DataType, row: int | None) -> None:
    path = make_bundle() / f"{table}.parquet"
    content = pq.read_table(path)
    index = content.schema.get_field_index(column)
    values = pa.array([str(number) for number in range(len(content))]).cast(pa.int64()).cast(kind, safe=False)
    pq.write_table(content.set_column(index, column, values), path)
    with pytest.raises(BadBundle, match="type") as caught:
        Bundle.open(path.parent)
    assert (caught.value.file, caught.value.column, caught.value.row) == (f"{table}.parquet", column, row)


def test_a_value_too_large_names_its_row(make_bundle: Make) -> None:
    path = make_bundle() / "requests.parquet"
    content = pq.read_table(path)
    index = content.schema.get_field_index("turn")
    pq.write_table(content.set_column(index, "turn", pa.array([3, 2**40])), path)
    with pytest.raises(BadBundle, match="turn") as caught:
        Bundle.open(path.parent)
    assert caught.value.row == 1


@pytest.mark.parametrize(("table", "column"), [("samples", "value"), ("steps", "t1_ns"), ("requests", "status"), ("windows", "t0_ns")])
def test_a_required_column_that_is_missing_is_named(make_bundle: Make, table: str, column: str) -> None:
    path = make_bundle() / f"{table}.parquet"
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    with pytest.raises(BadBundle, match="required") as caught:
        Bundle.open(path.parent)
    assert (caught.value.file, caught.value.column) == (path.name, column)


def test_a_broken_and_a_missing_file_are_named(make_bundle: Make) -> None:
    path = make_bundle() / "samples.parquet"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadBundle, match="samples"):
        Bundle.open(path.parent)
    path.unlink()
    with pytest.raises(BadBundle, match="missing"):
        Bundle.open(path.parent)


def test_a_run_under_way_is_not_opened(make_bundle: Make) -> None:
    with pytest.raises(BadBundle, match="going on") as caught:
        Bundle.open(make_bundle(lambda manifest, _: manifest.update(status="running")))
    assert caught.value.fix is not None
    assert "tpb ingest" in caught.value.fix
