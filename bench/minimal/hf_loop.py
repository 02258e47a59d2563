"""Transformers' own `generate` on one static batch, greedy, without tpb."""

from __future__ import annotations

import torch
from job import read_job, repeat
from transformers import AutoModelForCausalLM, GenerationConfig


def main() -> None:
    """Load, run one batch, then batches until killed."""
    job = read_job()
    torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(job["model"], dtype="auto").eval()
    ids = torch.tensor(job["prompts"])
    settings = GenerationConfig(max_new_tokens=job["tokens"], min_new_tokens=job["tokens"], do_sample=False, pad_token_id=0)
    with torch.inference_mode():
        repeat(lambda: model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings))


if __name__ == "__main__":
    main()
