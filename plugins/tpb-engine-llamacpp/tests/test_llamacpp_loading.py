"""Opening and closing the llama.cpp engine: what it says of itself, what it refuses, what it gives back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tpb_core.api import BadInput, EngineContext, Refused
from tpb_engine_llamacpp import LlamaCppConfig, LlamaCppEngine
from tpb_engine_llamacpp.model_file import find_model, packaged_model

pytestmark = pytest.mark.real_engine


def test_description_log_and_closing(tmp_path: Path, capfd: pytest.CaptureFixture[str], open_desk: Callable[..., Any]) -> None:
    log = tmp_path / "engine.log"
    template = tmp_path / "chat.jinja"
    template.write_text("{% for m in messages %}{{ raise_exception('no') if m.content == 'bad' else m.content }}!{% endfor %}")
    desk = open_desk(
        1, str(log), context_tokens=300, threads=1, kv_type_k="q8_0", flash_attention=True, chat_template=str(template), batch_tokens=128
    )
    description = desk.description
    assert description.model["total_parameters"] == 134_515_008
    assert (description.model["layers"], description.model["heads"], description.model["context_tokens"]) == (30, 9, 8192)
    assert description.model["name"] == "SmolLM2-135M-Instruct"
    assert (description.quantization, description.dtype) == ("Q4_1", "float32")
    assert description.requested["context_tokens"] == 300
    assert description.effective["context_tokens"] == 512  # llama.cpp rounds up
    same = ("threads", "kv_type_k", "flash_attention", "batch_tokens")
    assert {key: description.requested[key] for key in same} == {key: description.effective[key] for key in same}
    assert description.tokenizer["chat_template_source"] == "engine.chat_template"
    tokenizer = desk.tokenizer
    assert tokenizer.decode(tokenizer.render_chat([[{"role": "user", "content": "Hi"}]])) == ["Hi!"]
    with pytest.raises(BadInput, match="refuses these messages: no"):
        tokenizer.render_chat([[{"role": "user", "content": "bad"}]])
    assert len(desk.batch([desk.ask(0, desk.ids(20))]).done) == 1
    desk.engine.close()
    desk.engine.close()
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""
    assert "llama_kv_cache" in log.read_text()


def test_files_that_are_no_model(tmp_path: Path, open_desk: Callable[..., Any]) -> None:
    whole = packaged_model()
    cut = tmp_path / "cut.gguf"
    with whole.open("rb") as file:
        cut.write_bytes(file.read(3_000_000))
    header = tmp_path / "header.gguf"
    header.write_bytes(cut.read_bytes()[:500])
    text = tmp_path / "model.gguf"
    text.write_text("hello")
    for name, words in ((cut, "corrupted or incomplete"), (header, "cannot be loaded"), (text, "is not GGUF"), (tmp_path, "3 GGUF files")):
        with pytest.raises(BadInput, match=words) as caught:
            open_desk(model=str(name))
        assert str(name) in caught.value.what
    with pytest.raises(BadInput, match="no model file") as missing:
        open_desk(model=str(tmp_path / "modle.gguf"))
    assert str(text) in str(missing.value.fix)
    assert find_model("smollm2-135m-instruct") == whole
    assert find_model(str(whole.parent)) == whole, "a folder with one GGUF file"
    with pytest.raises(BadInput, match="no GGUF file"):
        find_model(str(Path(__file__).parent))


def test_options_that_cannot_be(open_desk: Callable[..., Any]) -> None:
    with pytest.raises(BadInput, match=r"kv_type_k=q3 is not known"):
        open_desk(kv_type_k="q3")
    with pytest.raises(BadInput, match=r"threads=0"):
        open_desk(threads=0)
    with pytest.raises(Refused, match="at most 256 sequences"):
        open_desk(257)
    with pytest.raises(BadInput, match="cannot be read"):
        open_desk(chat_template="/nowhere/at/all")
    LlamaCppEngine(LlamaCppConfig(), EngineContext(clock=None, run_id="r")).close()


def test_importing_the_plugin_loads_no_library_and_check_tells_the_version() -> None:
    code = """
import sys, tpb_engine_llamacpp
print(sorted({'numpy', 'llama_cpp', 'llm'} & set(sys.modules)))
tpb_engine_llamacpp.LlamaCppEngine.check()
print('llm' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]
    assert done.stderr == ""
    assert LlamaCppEngine.check().startswith("0.3.")


def test_memory_is_given_back_after_close(open_desk: Callable[..., Any]) -> None:
    def resident_mb() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    def once() -> float:
        desk = open_desk(1, context_tokens=4096, mmap=False)  # 96 MB of weights and 94 MB of cache, all in memory of its own
        desk.batch([desk.ask(0, desk.ids(8), max_output_tokens=2)])
        inside = resident_mb()
        desk.engine.close()
        return inside

    once()
    before = resident_mb()
    assert once() > before + 100
    assert resident_mb() < before + 20
