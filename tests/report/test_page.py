"""The page of a run: everything in it is text, nothing in it loads or runs, and it holds what the bundle holds."""

from __future__ import annotations

import html
import html.parser
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.cli.main import main
from tpb_core.report.page.markup import rendered, tag
from tpb_core.report.page.page import page_of
from tpb_core.report.page.style import PAGE, PICTURE

MS = 1_000_000
EVIL = (
    "</title></style><script>alert(1)</script><img src=x onerror=alert(1)> "
    '"onload="alert(2)" \'onload=\'x &lt;b&gt; \u202eabc\x00\x1b]0;x\x07'
)


class Reader(html.parser.HTMLParser):
    """What a browser would see: elements, attributes, text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.pieces: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def with_evil(manifest: dict[str, Any], tables: dict[str, list[dict[str, Any]]]) -> None:
    manifest["engine"] |= {"name": EVIL, "version": EVIL, "model": {"name": EVIL, EVIL: EVIL}, "dtype": EVIL}
    manifest["engine"] |= {"requested": {EVIL: EVIL}, "effective": {EVIL: "other" + EVIL}}
    manifest["environment"] = {"devices": [{"name": EVIL, "driver": EVIL}], EVIL: [EVIL, {EVIL: EVIL}]}
    manifest["nodes"][0]["hostname"] = EVIL
    manifest["study"]["study_id"] = EVIL
    manifest["load"]["parameters"][EVIL] = EVIL
    manifest["config"] = {EVIL: {EVIL: EVIL}}
    manifest["plugins"] = [{"name": EVIL, "distribution": EVIL}]
    manifest["x_unavailable_meters"] = [{"meter": EVIL, "reason": "no_sensor", "what": EVIL, "fix": EVIL}]
    for channel in manifest["channels"]:
        channel |= {"meter": EVIL, "sensor": EVIL, "device": EVIL, "calibration": {"note": EVIL}}
    manifest["channels"].append({**manifest["channels"][0], "channel": "c" + EVIL, "domain": "d" + EVIL, "kind": "power", "unit": "W"})
    tables["samples"] += [{"channel": "c" + EVIL, "t_ns": n * 100 * MS, "half_width_ns": 0, "value": 50.0 + n} for n in range(100)]
    tables["windows"].append({"window": "x_" + EVIL, "t0_ns": 0, "t1_ns": 12000 * MS, "note": EVIL})
    tables["prompts"] = [{"prompt_id": f"p{n}", "source": EVIL, "task": EVIL, "text": EVIL} for n in range(10)]
    tables["texts"] = [{"request": n, "text": EVIL} for n in range(10)]
    tables["requests"][0] |= {"status": "error", "error": EVIL, "finish_reason": EVIL}
    tables["events"] = [{"t_ns": 0, "source": EVIL, "level": EVIL, "code": "engine_error", "message": EVIL}]
    tables["steps"] = []


@pytest.fixture
def evil_page(make_run: Any) -> str:
    return page_of(
        make_run("evil", change=with_evil, terms=[("gain" + EVIL, EVIL, 37.0, None, True)], phases={"prefill": 1.0, "decode": 2.0})
    )


def test_what_prompts_outputs_and_devices_say_stays_text(evil_page: str) -> None:
    seen = Reader(evil_page)
    assert not {"script", "iframe", "object", "embed", "img", "link", "base", "form", "foreignobject"} & set(seen.elements)
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name in ("src", "style", "srcdoc", "action")]
    assert all(str(value).startswith("#") for name, value in seen.attributes if name in ("href", "xlink:href"))
    assert seen.text.count("<script>alert(1)</script>") >= 25  # each place it came from shows it
    assert '"onload="alert(2)"' in seen.text
    assert "\\u202eabc\\u0000\\u001b" in seen.text
    assert not re.search("[\u202a-\u202e\x00\x1b\x07]", evil_page)


def test_the_page_forbids_itself_everything(evil_page: str) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', evil_page)
    assert policy is not None
    said = html.unescape(policy[1])
    assert said.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in said
    assert not re.search(r"https?://(?!www\.w3\.org)", evil_page)
    assert f"<style>{PAGE}</style>" in evil_page  # its hash holds only where escaping changes nothing
    assert "url(" not in PAGE and "@import" not in PAGE and "<" not in PICTURE


def test_elements_that_do_not_belong_are_refused() -> None:
    for element in ("script", "iframe", "img", "a b", "p><script"):
        with pytest.raises(ValueError, match="belongs into a report"):
            tag(element)
    for name in ("onclick", "style", "src", "ONLOAD", 'x" onload="'):
        with pytest.raises(ValueError, match="belongs into a report"):
            tag("p", **{name: "x"})
    with pytest.raises(ValueError, match="no links"):
        tag("a", href="javascript:alert(1)")


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_comes_back_as_text(inside: str, attribute: str) -> None:
    seen = Reader(rendered(tag("p", inside, title=attribute)))
    assert seen.elements == ["p"]
    assert [name for name, _ in seen.attributes] == ["title"]
    if inside.isprintable() and attribute.isprintable():
        assert seen.text == inside and seen.attributes[0][1] == attribute


def test_the_page_shows_what_the_run_has(make_run: Any) -> None:
    run = make_run(
        "a",
        joules=1000.0,
        terms=[("gain", "GPU-1", 37.0, None, True), ("edges", "a/1", 5.0, None, False)],
        phases={"prefill": 300.0, "decode": 720.0},
    )
    text = Reader(page_of(run)).text
    for expected in (
        "valid: every gate passed",
        "n0/gpu0 (gpu)",
        "-20.0",
        "37 J",
        "no_gap",
        "step log of the engine",
        "no_step_log",
        "DRAM energy",
    ):
        assert expected in text, expected


def test_gauges_and_unused_devices_are_drawn(make_run: Any) -> None:
    def change(manifest: dict[str, Any], tables: dict[str, list[dict[str, Any]]]) -> None:
        gpu = manifest["channels"][0]
        gauge = {**gpu, "channel": "n0/gpu0/temperature", "kind": "gauge", "unit": "degC", "role": None}
        idle = {**gpu, "channel": "n0/gpu1/power", "domain": "n0/gpu1", "sensor": "GPU-2", "kind": "power", "unit": "W", "allocated": False}
        manifest["channels"] += [gauge, idle]
        for t in range(12):
            tables["samples"] += [
                {"channel": name, "t_ns": t * 1000 * MS, "half_width_ns": 0, "value": value}
                for name, value in (("n0/gpu0/temperature", 60.0 + t), ("n0/gpu1/power", 30.0))
            ]

    text = Reader(page_of(make_run("a", change=change))).text
    assert "Temperatures, clocks and other gauges (1)" in text and "n0/gpu0/temperature, degC: 12 readings" in text
    assert "n0/gpu1 (gpu, not used by the run)" in text


def test_a_run_without_energies_has_a_page(make_run: Any) -> None:
    text = Reader(page_of(make_run("a", attributed=False))).text
    assert "validity not known" in text and "not attributed yet" in text


def test_a_run_without_sensors_and_requests_has_a_page(make_run: Any) -> None:
    def bare(manifest: dict[str, Any], tables: dict[str, list[dict[str, Any]]]) -> None:
        manifest["channels"], tables["samples"], tables["requests"] = [], [], []

    text = Reader(page_of(make_run("a", attributed=False, change=bare))).text
    assert "energy not measured" in text and "No channel of power or energy" in text and "no_requests" in text


def test_the_command_writes_beside_the_run(make_run: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = make_run("a")
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "runs" / "a.html")
    assert (tmp_path / "runs" / "a.html").read_text().startswith("<!DOCTYPE html>")
    assert main(["report", "a", "--database", str(tmp_path / "runs" / "tpb.duckdb"), "-o", str(tmp_path / "x.html")]) == 0
    assert (tmp_path / "x.html").exists()
    assert main(["report", "nothing"]) == 2
    assert main(["report", str(run), "-o", str(tmp_path / "no" / "folder.html")]) == 2
