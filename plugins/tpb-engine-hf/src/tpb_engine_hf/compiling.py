"""torch.compile of the model's forward pass, and the first calls that pay for it."""

from __future__ import annotations

from typing import Any

from tpb_engine_hf.generation import StaticBatches

WARM_UP_INPUTS_TOKENS = (16, 24)
"""Two lengths, so that the compiler takes the length for a variable."""
WARM_UP_OUTPUT_TOKENS = 3


def compile_forward(batches: StaticBatches, mode: str, context_tokens: int | None) -> tuple[int, int]:
    """Compile, run two short generations so that prefill and decode are built, and return their start and end (run clock, ns).

    `forward` is what is compiled, not the module's call: hooks stay outside the compiled graph. A static cache is built for
    `context_tokens` at once, since a longer one would be compiled for again.
    """
    import torch
    from transformers import GenerationConfig
    from transformers.generation import StoppingCriteriaList

    model: Any = batches.model
    model.forward = torch.compile(model.forward, mode=mode)
    t0_ns = batches.clock.now_ns()
    for length in WARM_UP_INPUTS_TOKENS:
        ids = torch.full((1, length), batches.special.padding, device=model.device)
        longest = max(WARM_UP_OUTPUT_TOKENS, (context_tokens or 0) - length)
        settings = GenerationConfig(**batches.settings, max_new_tokens=longest, pad_token_id=batches.special.padding, do_sample=False)
        with torch.inference_mode():
            batches.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=settings,
                stopping_criteria=StoppingCriteriaList([_Enough(length + WARM_UP_OUTPUT_TOKENS)]),
            )
    return t0_ns, batches.clock.now_ns()


class _Enough:
    """A stopping criterion: that many columns."""

    def __init__(self, columns: int) -> None:
        self._columns = columns

    def __call__(self, input_ids: Any, scores: Any, **keywords: Any) -> Any:
        import torch

        return torch.full((input_ids.shape[0],), input_ids.shape[1] >= self._columns, dtype=torch.bool, device=input_ids.device)
