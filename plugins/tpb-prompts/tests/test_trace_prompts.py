"""`prompts=trace`: lengths and arrival times as recorded, whatever is left out is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tpb_core.api import BadInput, PromptContext
from tpb_prompts.trace import TraceConfig, TracePrompts

BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,230,1317,Conversation log
118,GPT-4,417,0,417,API log
"""
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:51.2225670,879,55
"""


class Characters:
    """One token a character."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[ord(c) for c in text] for text in texts]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return ["".join(map(chr, row)) for row in ids]

    def render_chat(self, conversations: Sequence[Sequence[dict[str, object]]]) -> list[list[int]]:
        raise NotImplementedError


def source(tmp_path: Path, text: str, **options: object) -> TracePrompts:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    return TracePrompts(TraceConfig(path=str(path), **options), PromptContext(seed=1, tokenizer=Characters()))  # type: ignore[arg-type]


def test_burstgpt_keeps_lengths_and_gaps_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    trace = source(tmp_path, BURSTGPT)
    prompts = list(trace.prompts(10))
    assert [(len(p.input_ids or []), p.output_tokens, p.arrival_s) for p in prompts] == [(472, 18, 0.0), (1087, 230, 40.0)]
    assert trace.notes() == [f"1 of 3 requests of {tmp_path / 'trace.csv'} are left out: without input or output tokens"]


def test_azure_dates_have_seven_decimals(tmp_path: Path) -> None:
    prompts = list(source(tmp_path, AZURE).prompts(10))
    assert [p.arrival_s for p in prompts] == pytest.approx([0.0, 4.314579, 4.541977], abs=2e-6)
    assert [len(p.input_ids or []) for p in prompts] == [374, 396, 879]


def test_an_offset_begins_later_and_limits_are_said(tmp_path: Path) -> None:
    trace = source(tmp_path, AZURE, offset_s=4.0, max_input_tokens=500)
    prompts = list(trace.prompts(10))
    assert [(p.row, p.arrival_s) for p in prompts] == [(2, 0.0)]
    assert "1 of 2 requests" in trace.notes()[0]
    assert "more than 500 input tokens" in trace.notes()[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "columns a, b"),
        ("arrival_s,input_tokens,output_tokens\n0,5,5\nx,5,5\n", "row 2"),
        ("arrival_s,input_tokens,output_tokens\n", "no requests"),
        ("arrival_s,input_tokens,output_tokens\n0,0,5\n", "no request"),
    ],
)
def test_what_is_no_trace_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        list(source(tmp_path, text).prompts(3))
    assert said in str(caught.value)
