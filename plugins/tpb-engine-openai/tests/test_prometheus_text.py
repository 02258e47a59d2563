"""The Prometheus text format: sums over label sets, and a named error for everything else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_engine_openai.metric_names import METRICS, NAMES, channel_values
from tpb_engine_openai.prometheus import NotPrometheus, read_metrics

WANTED = {"a_total", "vllm:b"}


def test_samples_of_all_label_sets_are_added_and_others_passed_over() -> None:
    text = """
# HELP a_total Some "words" {here} 12
# TYPE a_total counter
a_total{engine="0",model="x"} 1.5e+03
a_total{engine="1",model="with } \\" and , in it",} 10 1700000000000
vllm:b 7 # {trace="1"} 0.5
a_total_created{engine="0"} 1.7e9
other{le="+Inf"} +Inf
"""
    assert read_metrics(text, WANTED) == {"a_total": 1510.0, "vllm:b": 7.0}


def test_what_is_not_finite_is_left_out() -> None:
    assert read_metrics('a_total{x="1"} 5\na_total{x="2"} NaN\nvllm:b +Inf\n', WANTED) == {}
    assert read_metrics("", WANTED) == {}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[{"iter": 1}]', "line 1 begins with no metric name"),
        ("<!doctype html>", "line 1 begins"),
        ("a_total\n", "line 1 has no value"),
        ("ok 1\na_total 1,5", "line 2 has no value"),
        ('a_total{x="1" 5', "line 1 has labels that cannot be read"),
        ("a_total{x=1} 5", "line 1 has labels"),
        ("a_total 0x10", "line 1 has no value"),
    ],
)
def test_other_texts_are_named(text: str, line: str) -> None:
    with pytest.raises(NotPrometheus, match=line):
        read_metrics(text, WANTED)


_VALUE = st.floats(allow_nan=False, allow_infinity=False, width=32)
_LABEL = st.text(max_size=12).map(lambda text: text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", ""))


@given(st.lists(st.tuples(st.sampled_from(["a_total", "vllm:b", "other"]), st.lists(_LABEL, max_size=3), _VALUE), max_size=8))
def test_any_samples_come_back_as_their_sums(rows: list[tuple[str, list[str], float]]) -> None:
    lines, sums = [], dict.fromkeys(WANTED, 0.0)
    for name, labels, value in rows:
        inside = ",".join(f'l{place}="{label}"' for place, label in enumerate(labels))
        lines.append(f"{name}{{{inside}}} {value!r}" if labels else f"{name} {value!r}")
        if name in sums:
            sums[name] += value
    found = read_metrics("\n".join(lines), WANTED)
    for name in WANTED:
        if any(row[0] == name for row in rows):
            assert math.isclose(found[name], sums[name], rel_tol=1e-9, abs_tol=1e-30)
        else:
            assert name not in found


@given(st.one_of(st.text(max_size=120), st.text(alphabet='ab_total{}=",\\ 0123456789.eE+-#NInf\n', max_size=80)))
def test_any_text_is_samples_or_a_named_error(text: str) -> None:
    try:
        found = read_metrics(text, WANTED)
    except NotPrometheus as refused:
        named = str(refused)
    else:
        named = ""
        assert all(math.isfinite(value) for value in found.values())
    assert named == "" or named.startswith("line ")


def test_each_server_has_its_names() -> None:
    for prefix, least in (("vllm:", 7), ("sglang:", 6), ("llamacpp:", 4), ("tgi_", 5), ("trtllm", 5)):
        assert sum(any(name.startswith(prefix) for name in metric.names) for metric in METRICS) >= least, prefix
    assert len(NAMES) == sum(len(metric.names) for metric in METRICS)


def test_a_share_over_one_is_several_engines_added_and_is_left_out() -> None:
    assert channel_values({"vllm:kv_cache_usage_perc": 1.4, "vllm:num_requests_running": 3.0}) == {"running_requests": 3.0}
