"""`prompts=file`: formats, bad rows by file, row and reason, skipping with notes, arrival times and conversations."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tpb_core.api import BadInput, Prompt, PromptContext
from tpb_prompts.file import FileConfig, FilePrompts
from tpb_prompts.formats import BadRow
from tpb_prompts.rows import prompt_of

ROWS = [
    {"id": "a", "text": "One, two", "task": "count", "output_tokens": 7},
    {"id": "b", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": 'Why?\n"So"'}]},
    {"id": "c", "prompt": "Tür, 日本"},
]

# a shared machine: slow inputs are no finding
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def source(path: Path, seed: int = 0, **options: object) -> FilePrompts:
    return FilePrompts(FileConfig(path=str(path), **options), PromptContext(seed=seed))  # type: ignore[arg-type]


def read(path: Path, **options: object) -> list[Prompt]:
    return list(source(path, **options).prompts(1000))


def write(folder: Path, kind: str, rows: list[dict[str, object]]) -> Path:
    path = folder / f"prompts.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    elif kind == "json":
        path.write_text(json.dumps({"prompts": rows}))
    elif kind == "csv":
        names = sorted({name for row in rows for name in row})
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            for row in rows:
                writer.writerow({name: json.dumps(value) if name == "messages" else value for name, value in row.items()})
    else:
        pq.write_table(
            pa.Table.from_pylist(
                [{name: row.get(name) for name in ("id", "text", "task", "output_tokens", "messages", "prompt")} for row in rows]
            ),
            path,
        )
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_every_format_gives_the_same_prompts(tmp_path: Path, kind: str) -> None:
    prompts = read(write(tmp_path, kind, ROWS))
    assert [(p.prompt_id, p.text, p.task, p.output_tokens, p.row) for p in prompts] == [
        ("a", "One, two", "count", 7, 1), ("b", None, None, None, 2), ("c", "Tür, 日本", None, None, 3),
    ]  # fmt: skip
    assert prompts[1].messages == ROWS[1]["messages"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"text": "x"', "is not JSON"),
        ("[1]", "is a list"),
        ('{"txt": "x"}', "its fields are: txt"),
        ('{"text": "  "}', "text is empty"),
        ('{"text": 5}', "text is a int"),
        ('{"text": "x", "messages": []}', "text and messages"),
        ('{"messages": []}', "at least one message"),
        ('{"messages": [{"role": "boss", "content": "x"}]}', "the role 'boss'"),
        ('{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "only text is supported"),
        ('{"text": "x", "output_tokens": 0}', "output_tokens is 0"),
        ('{"text": "x", "output_tokens": 1.5}', "output_tokens is 1.5"),
        ('{"text": "x", "output_tokens": true}', "output_tokens is True"),
        ('{"text": "x", "output_tokens": NaN}', "NaN is not JSON"),
        ('{"text": "x", "arrival_s": -1}', "before the start"),
        ('{"text": "x", "arrival_s": 1}', "unlike the rows before"),
        ('{"text": "x", "turn": 1}', "no conversation_id"),
        ('{"text": "x", "id": "first"}', "the one of row 1"),
        ('{"text": "\\ud800"}', "lone surrogate"),
    ],
)
def test_a_bad_row_is_named_with_file_row_and_reason(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "first", "text": "fine"}\n\n' + line + "\n")
    with pytest.raises(BadInput) as caught:
        read(path)
    assert str(path) in caught.value.what
    assert "row 3" in caught.value.what
    assert reason in caught.value.what
    skipping = source(path, on_error="skip")
    assert [p.prompt_id for p in skipping.prompts(9)] == ["first"]
    assert len(skipping.notes()) == 1
    assert "1 of 2 rows" in skipping.notes()[0]
    assert reason in skipping.notes()[0]


def test_notes_give_the_count_and_the_first_reasons(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "fine"}\n' + "oops\n" * 5)
    skipping = source(path, on_error="skip")
    assert len(list(skipping.prompts(9))) == 1
    (note,) = skipping.notes()
    assert note.startswith("5 of 6 rows")
    assert note.count("is not JSON") == 3
    assert note.endswith("and 2 more")


def test_bad_bytes_and_csv_rows(tmp_path: Path) -> None:
    binary = tmp_path / "p.jsonl"
    binary.write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(BadInput, match="row 1: is not UTF-8"):
        read(binary)
    table = tmp_path / "p.csv"
    table.write_text('id,text\n1,"two\nlines"\n2,a,b\n3,c\n')
    with pytest.raises(BadInput, match=r"row 2: has 3 cells, the header has 2 \(line 4\)"):
        read(table)
    assert [p.text for p in read(table, on_error="skip")] == ["two\nlines", "c"]


def test_files_that_cannot_be_prompts(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text("")
    with pytest.raises(BadInput, match="holds no prompts"):
        read(tmp_path / "prompts.jsonl")
    with pytest.raises(BadInput, match="no prompt file") as missing:
        read(tmp_path / "prompt.jsonl")
    assert "prompts.jsonl" in str(missing.value.fix)
    with pytest.raises(BadInput, match="is a folder"):
        read(tmp_path)
    (tmp_path / "p.txt").write_text("x")
    with pytest.raises(BadInput, match="does not tell its format"):
        read(tmp_path / "p.txt")
    (tmp_path / "p.parquet").write_text("x")
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        read(tmp_path / "p.parquet")
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(BadInput, match="neither a list"):
        read(tmp_path / "p.json")
    (tmp_path / "all.jsonl").write_text("no\n")
    with pytest.raises(BadInput, match="no usable row out of 1"):
        read(tmp_path / "all.jsonl", on_error="skip")


def test_arrival_times_start_at_zero_and_are_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl", [{"text": "late", "arrival_s": 12.5}, {"text": "early", "arrival_s": 10}])
    assert [(p.text, p.arrival_s) for p in read(path)] == [("early", 0.0), ("late", 2.5)]
    with pytest.raises(BadInput, match="arrival times"):
        read(path, shuffle=True)


def test_shuffling_is_seeded_and_keeps_the_turns_of_a_conversation_in_order(tmp_path: Path) -> None:
    rows = [{"text": f"{c}{t}", "conversation_id": c, "turn": t} for t in range(5) for c in "uvw"] + [{"text": str(i)} for i in range(20)]
    path = write(tmp_path, "jsonl", rows)
    first, again, other = ([p.text for p in source(path, seed, shuffle=True).prompts(100)] for seed in (1, 1, 2))
    assert first == again != other
    assert sorted(map(str, first)) == sorted(str(row["text"]) for row in rows)
    for conversation in "uvw":
        assert [t for t in first if str(t).startswith(conversation)] == [f"{conversation}{t}" for t in range(5)]


def test_each_turn_of_a_conversation_is_a_request_with_what_was_said_before_it(tmp_path: Path) -> None:
    said = [("system", "Be brief."), ("user", "Why?"), ("assistant", "So."), ("user", "And then?"), ("assistant", "That."), ("user", "Hm.")]
    messages = [{"role": role, "content": content} for role, content in said]
    path = write(tmp_path, "jsonl", [{"id": "talk", "messages": messages}, {"id": "text", "text": "Alone"}])
    first, second, third, alone = read(path, turns=True)
    assert [(p.prompt_id, p.conversation_id, p.turn) for p in (first, second, third)] == [(f"talk/{t}", "talk", t) for t in range(3)]
    assert (first.messages, second.messages, third.messages) == (messages[:2], messages[:4], messages)
    assert (alone.text, alone.conversation_id) == ("Alone", None)
    assert [p.prompt_id for p in read(path)] == ["talk", "text"], "one request a conversation unless asked"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab \ud800\u00e9", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab \ud800\u00e9", max_size=5), inner, max_size=3),
)


@calm
@given(
    st.dictionaries(
        st.sampled_from(["text", "prompt", "messages", "id", "task", "output_tokens", "arrival_s", "conversation_id", "turn", "x_a"]),
        json_values,
    )
)
def test_any_row_is_a_good_prompt_or_has_a_reason(fields: dict[str, object]) -> None:
    found = prompt_of(fields, source="f", row=3)
    if isinstance(found, BadRow):
        assert found.reason
    else:
        assert (found.text is None) != (found.messages is None)
        assert found.output_tokens is None or found.output_tokens >= 1
        assert found.arrival_s is None or found.arrival_s >= 0


@calm
@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b" ")), max_size=6))
def test_any_bytes_are_read_or_skipped_but_never_crash(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("bytes") / "p.jsonl"
    path.write_bytes(b'{"text": "good"}\n' + b"\n".join(lines))
    assert read(path, on_error="skip")[0].text == "good"


@calm
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1, max_size=20).filter(lambda t: t.strip() != ""),
        min_size=1,
        max_size=8,
    )
)
def test_csv_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([["text"], *([text] for text in texts)])
    path = tmp_path_factory.mktemp("csv") / "p.csv"
    path.write_bytes(buffer.getvalue().encode())
    assert [p.text for p in read(path)] == texts
