"""`tpb sql` and `tpb ingest` as they are typed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api.errors import BadInput
from tpb_core.cli import ingest as ingest_command
from tpb_core.cli import sql as sql_command
from tpb_core.store.answers import as_csv, as_json, as_markdown, as_parquet, as_table

Make = Callable[..., Path]


@pytest.fixture
def folder(make_bundle: Make, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with one ingested run under runs/."""
    bundle = make_bundle(name="work/runs/r1")
    monkeypatch.chdir(bundle.parent.parent)
    assert ingest_command.run(["runs"]) == 0
    return bundle.parent.parent


def test_ingest_says_what_it_did(folder: Path, make_bundle: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest_command.run(["runs"]) == 0
    assert capsys.readouterr().out == "1 run in runs/tpb.duckdb\n"
    make_bundle(lambda manifest, _: manifest.update(run_id="broken", version="3.0"), "work/runs/r2")
    assert ingest_command.run(["runs"]) == 2
    captured = capsys.readouterr()
    assert "1 run in runs/tpb.duckdb" in captured.out
    assert "refused" in captured.err
    assert "version 3.0" in captured.err
    with pytest.raises(BadInput, match="seconds"):
        ingest_command.run(["runs", "--wait", "long"])
    with pytest.raises(BadInput, match="no folder"):
        ingest_command.run(["nowhere"])


def test_every_format(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    query = "select run_id, ttft_p50_ms, j_per_output_token from results where scope = 'total' and window = 'measure'"
    assert sql_command.run([query]) == 0
    assert capfdbinary.readouterr().out.decode().splitlines()[2].split()[1:] == ["110", "NULL"]
    assert sql_command.run([query, "--format=json"]) == 0
    assert json.loads(capfdbinary.readouterr().out)[0]["ttft_p50_ms"] == pytest.approx(110.0)
    assert sql_command.run([query, "--format", "parquet", "--database", "runs/tpb.duckdb"]) == 0
    assert pq.read_table(pa.BufferReader(capfdbinary.readouterr().out)).num_rows == 1
    for words, says in ((["--format", "xml", query], "xml"), (["--fast", query], "--fast"), ([query, query], "More than one")):
        with pytest.raises(BadInput, match=says):
            sql_command.run(words)


def test_the_shell_reads_queries_from_a_pipe(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("select 1 as a,\n  2 as b;\n.format csv\n.tables\nselect count(*) as n from runs"))
    assert sql_command.run([]) == 0
    out = capsys.readouterr().out
    assert "a  b\n-  -\n1  2\n" in out
    assert "results,VIEW" in out
    assert out.endswith("n\n1\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("select nope;\nselect 1;"))
    with pytest.raises(BadInput, match="nope"):
        sql_command.run([])


def test_a_wide_answer_becomes_blocks_on_a_narrow_terminal() -> None:
    answer = pa.table({"engine": ["sim"], "j_per_output_token": [1.23456789]})
    assert as_table(answer, 10) == "engine              sim\nj_per_output_token  1.23457\n\n(1 row)"
    assert as_table(answer, 80).splitlines()[2] == "sim                1.23457"
    assert as_table(pa.table({"a": pa.array([], pa.int32())}), 80) == "a\n-\n(0 rows)"


_VALUES = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(
        st.tuples(st.none() | st.text(min_size=1, max_size=8), _VALUES, st.none() | st.lists(st.integers(-9, 9), max_size=3)), max_size=5
    )
)
def test_json_csv_and_parquet_lose_nothing(rows: list[tuple[str | None, float | None, list[int] | None]]) -> None:
    schema = pa.schema([("t", pa.string()), ("x", pa.float64()), ("l", pa.list_(pa.int64()))])
    answer = pa.Table.from_pylist([dict(zip("txl", row, strict=True)) for row in rows], schema=schema)
    assert json.loads(as_json(answer)) == answer.to_pylist()
    assert pq.read_table(pa.BufferReader(as_parquet(answer))).equals(answer)
    header, *lines = csv.reader(io.StringIO(as_csv(answer), newline=""))
    assert header == ["t", "x", "l"]
    if not any("\n" in (row[0] or "") or "\r" in (row[0] or "") for row in rows):
        assert [[None if cell == "" else cell for cell in line][1:] for line in lines] == [
            [None if x is None else repr(x), None if numbers is None else json.dumps(numbers)] for _, x, numbers in rows
        ]
    assert as_markdown(answer).count("\n") >= len(rows) + 1
