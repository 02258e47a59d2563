"""Finding out what a server is, starting one, ending it, and what is refused with which words."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tpb_core.api import BadInput, EngineContext, MeasurementFailed, TpbError, Unavailable
from tpb_core.testing.engine_session import SuiteClock
from tpb_core.testing.openai_double import OpenAiDouble
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_openai import OpenAiConfig, OpenAiEngine
from tpb_engine_openai.address import Address

DOUBLE = f"{sys.executable} -m tpb_core.testing.openai_double --port {{port}}"


def engine(log_path: str | None = None, **options: Any) -> OpenAiEngine:
    return OpenAiEngine(OpenAiConfig(**options), EngineContext(clock=SuiteClock(), run_id="r", log_path=log_path))


def refusal(**options: Any) -> TpbError:
    one = engine(**options)
    with pytest.raises(TpbError) as caught:
        one.open(RecordingSink())
    one.close()
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize(("owner", "kind"), [("vllm", "vllm"), ("sglang", "sglang"), ("tensorrt_llm", "trtllm"), ("someone", "other")])
def test_the_kind_is_found_out(new_double: Callable[..., OpenAiDouble], open_desk: Any, owner: str, kind: str) -> None:
    description = open_desk(url=new_double(owner=owner).url).description
    assert description.extensions["x_server"]["kind"] == kind
    assert description.effective["server"] == kind
    assert description.model["name"] == "double"
    assert kind != "vllm" or description.version == "vllm 0.0-double"


def test_requested_and_effective_agree_where_all_is_well(open_desk: Any) -> None:
    description = open_desk(model="double", server="vllm", extra_body={"logit_bias": {}}).description
    assert description.requested == {"model": "double", "server": "vllm", "extra_body": {"logit_bias": {}}}
    assert {name: description.effective[name] for name in description.requested} == description.requested
    assert description.prefix_cache is False  # by salts


def test_prefix_reuse_is_unknown_where_it_cannot_be_told(open_desk: Any, new_double: Callable[..., OpenAiDouble]) -> None:
    assert open_desk(url=new_double(owner="someone").url).description.prefix_cache is None
    assert open_desk(prefix_cache=True).description.prefix_cache is None


def test_what_cannot_work_is_said_with_a_way_out(new_double: Callable[..., OpenAiDouble], tmp_path: Path) -> None:
    assert "engine.url" in str(refusal().fix)
    assert "exclude each other" in refusal(url="localhost:1", command="x").what
    assert isinstance(refusal(url="localhost:9"), Unavailable)
    assert "does not answer" in refusal(url="localhost:9").what
    assert "only http" in refusal(url="ftp://localhost").what
    assert "no host" in refusal(url="http://").what
    assert "stored" in refusal(url="http://me:secret@localhost").what
    two = new_double(models=("small-a", "small-b"))
    assert refusal(url=two.url).fix == "Choose one:  engine.model=small-a"
    assert "small-a" in str(refusal(url=two.url, model="smal-a").fix)
    assert "no program" in refusal(command="/no/such/server --port {port}").what
    assert "tokenizer" in refusal(url=two.url, model="small-a", tokenizer=str(tmp_path / "none.json")).what
    assert "token_ids" in refusal(url=two.url, model="small-a", api="chat", token_ids=True).what


def test_keys_come_from_the_environment_and_go_nowhere_else(
    new_double: Callable[..., OpenAiDouble], open_desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = new_double(api_key="sesame-123")
    monkeypatch.setenv("OPENAI_API_KEY", "of-somebody-else")
    assert "wants an API key" in refusal(url=locked.url).what  # no key is sent unless one was named
    assert "not set" in refusal(url=locked.url, api_key_env="NO_SUCH_KEY").what
    monkeypatch.setenv("DOUBLE_KEY", "sesame-123")
    desk = open_desk(url=locked.url, api_key_env="DOUBLE_KEY")
    assert desk.run().requests[0].status == "ok"
    assert "sesame" not in repr(desk.description)


def test_a_server_of_our_own_is_started_and_ended_with_all_its_children(tmp_path: Path) -> None:
    """Its child leaves the process group and would outlive it."""
    script = tmp_path / "serve.sh"
    script.write_text(f'#!/bin/sh\necho "listening soon"\nsetsid sleep 1000 &\nexec {DOUBLE.replace("{port}", "$1")}\n')
    script.chmod(0o755)
    one = engine(log_path=str(tmp_path / "worker.log"), command=f"{script} {{port}}")
    one.open(RecordingSink())
    pids = one.processes()
    assert len(pids) == 2
    one.close()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]] == []
    assert one.processes() == []
    assert "listening soon" in (tmp_path / "worker.log").read_text()


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tpb_engine_openai import launched_server

    monkeypatch.setattr(launched_server, "_PATIENCE_S", 0.5)
    script = tmp_path / "stubborn.py"
    script.write_text(
        "import signal, sys\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nfrom tpb_core.testing import openai_double\n"
        "sys.argv[0] = 'x'\nopenai_double.main()\n"
    )
    one = engine(command=f"{sys.executable} {script} --port {{port}}")
    one.open(RecordingSink())
    pids = one.processes()
    begin = time.monotonic()
    one.close()
    assert time.monotonic() - begin < 5
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_a_server_that_ends_or_never_answers(tmp_path: Path) -> None:
    log = str(tmp_path / "worker.log")
    failing = engine(log_path=log, command="/bin/sh -c 'echo CUDA out of memory; exit 3'")
    with pytest.raises(MeasurementFailed, match="exit code 3") as caught:
        failing.open(RecordingSink())
    assert "CUDA out of memory" in caught.value.notes
    asleep = engine(command="sleep 1000", start_timeout_s=0.5)
    with pytest.raises(MeasurementFailed, match="not ready within"):
        asleep.open(RecordingSink())
    assert asleep.processes() == []


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_bad_input(text: str) -> None:
    try:
        address = Address.parse(text, "engine.url")
    except BadInput:
        return
    assert 0 <= address.port <= 65535
    assert address.host
    assert "\n" not in str(address)
    assert "\r" not in str(address)
