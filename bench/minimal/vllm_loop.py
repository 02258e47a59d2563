"""vLLM's own `LLM.generate` on one batch, greedy, without tpb; in one process and on as many threads as engine vllm runs it."""

from __future__ import annotations

import os

from job import read_job, repeat


def main() -> None:
    """Load, run one batch, then batches until killed."""
    job = read_job()
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(job["threads"]),
    }
    import torch
    from vllm import LLM, SamplingParams

    torch.set_num_threads(job["threads"])
    llm = LLM(
        model=job["model"], enforce_eager=True, max_model_len=1024, max_num_seqs=job["batch"], max_num_batched_tokens=4096,
        enable_prefix_caching=False, kv_cache_memory_bytes=2**30,
    )  # fmt: skip
    settings = SamplingParams(max_tokens=job["tokens"], ignore_eos=True, temperature=0.0)
    prompts = [{"prompt_token_ids": ids} for ids in job["prompts"]]
    repeat(lambda: llm.generate(prompts, settings, use_tqdm=False))


if __name__ == "__main__":
    main()
