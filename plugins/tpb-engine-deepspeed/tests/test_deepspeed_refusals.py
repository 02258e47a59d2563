"""What DeepSpeed cannot do here is refused by name, never replaced by plain Transformers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tpb_core.api import BadInput, EngineContext, Refused
from tpb_core.testing.engine_session import EngineSession, SuiteClock
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_deepspeed import DeepSpeedConfig, DeepSpeedEngine


def engine(**options: object) -> DeepSpeedEngine:
    return DeepSpeedEngine(DeepSpeedConfig(**options), EngineContext(SuiteClock(), "run"))  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["fastgen", "mii"])
def test_fastgen_and_mii_are_refused_before_anything_is_loaded(backend: str) -> None:
    with pytest.raises(Refused, match="NVIDIA GPUs only") as refusal:
        engine(model="owner/name", backend=backend).open(RecordingSink())
    assert "init_inference" in str(refusal.value.fix)


def test_a_prefix_cache_is_refused() -> None:
    with pytest.raises(Refused, match="no prefix cache"):
        engine(model="owner/name", prefix_cache=True).open(RecordingSink())


@pytest.mark.real_engine
def test_kernels_on_a_cpu_are_refused(tiny_llama: Path) -> None:
    with pytest.raises(Refused, match="no kernels"):
        engine(model=str(tiny_llama), accelerator="cpu", kernel_injection=True).open(RecordingSink())


@pytest.mark.real_engine
def test_a_gpu_that_is_not_there(tiny_llama: Path) -> None:
    import torch

    with pytest.raises(BadInput, match=f"this machine has {torch.cuda.device_count()} GPUs"):
        engine(model=str(tiny_llama), accelerator="cuda", tensor_parallel=torch.cuda.device_count() + 1).open(RecordingSink())


@pytest.mark.real_engine
def test_a_dtype_that_the_accelerator_has_not(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = EngineSession(DeepSpeedConfig(model=str(tiny_llama), accelerator="cpu"), EngineContext(SuiteClock(), "run"))
    session.open()
    from deepspeed.accelerator import get_accelerator

    monkeypatch.setattr(type(get_accelerator()), "supported_dtypes", lambda self: [])
    with pytest.raises(Refused, match="does not take"):
        engine(model=str(tiny_llama), accelerator="cpu").open(RecordingSink())
    session.engine.close()


@pytest.mark.real_engine
def test_effective_options_say_that_no_kernel_was_injected(tiny_llama: Path) -> None:
    session = EngineSession(DeepSpeedConfig(model=str(tiny_llama), accelerator="cpu", dtype="bfloat16"), EngineContext(SuiteClock(), "run"))
    session.open()
    assert session.description.effective["kernel_injection"] is False
    assert session.description.requested["dtype"] == session.description.effective["dtype"] == "bfloat16"
    assert session.description.extensions["x_replaced_layers"] == 0
    session.engine.close()
