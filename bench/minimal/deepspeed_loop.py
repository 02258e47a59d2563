"""DeepSpeed's `init_inference` and its `generate` on one static batch, greedy, without tpb."""

from __future__ import annotations

import os

import torch
from job import read_job, repeat
from transformers import AutoModelForCausalLM, GenerationConfig


def main() -> None:
    """Load, run one batch, then batches until killed."""
    job = read_job()
    torch.set_num_threads(job["threads"])
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype="auto").eval()
    engine = deepspeed.init_inference(model, dtype=model.dtype, replace_with_kernel_inject=False)
    ids = torch.tensor(job["prompts"])
    settings = GenerationConfig(max_new_tokens=job["tokens"], min_new_tokens=job["tokens"], do_sample=False, num_beams=1, pad_token_id=0)
    with torch.inference_mode():
        repeat(lambda: engine.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings))


if __name__ == "__main__":
    main()
