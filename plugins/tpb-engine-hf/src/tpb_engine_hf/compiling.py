"""torch.compile of the model's forward pass, and the first calls that pay for it."""

from __future__ import annotations

from typing import Any

from tpb_engine_hf.generation import StaticBatches

WARM_UP_INPUT_TOKENS = 16
WARM_UP_OUTPUT_TOKENS = 3


def compile_forward(batches: StaticBatches, mode: str) -> tuple[int, int]:
    """Compile, run one short generation so that prefill and decode are built, and return its start and end (run clock, ns).

    `forward` is what is compiled, not the module's call: hooks stay outside the compiled graph.
    """
    import torch
    from transformers import GenerationConfig

    model: Any = batches.model
    model.forward = torch.compile(model.forward, mode=mode)
    ids = torch.full((1, WARM_UP_INPUT_TOKENS), batches.special.padding, device=model.device)
    settings = GenerationConfig(
        **batches.settings, max_new_tokens=WARM_UP_OUTPUT_TOKENS, pad_token_id=batches.special.padding, do_sample=False
    )
    t0_ns = batches.clock.now_ns()
    with torch.inference_mode():
        batches.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
    return t0_ns, batches.clock.now_ns()
