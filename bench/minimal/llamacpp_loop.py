"""The shortest honest loop over llama.cpp's low-level API: static batches, greedy, no tpb. What tpb's tokens/s are held against."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
from job import read_job, repeat

_SILENT = lib.llama_log_callback(lambda level, text, data: None)


class MinimalLoop:
    """A loaded model and one context. The context's settings are those that engine llamacpp uses by default."""

    def __init__(self, model: str | os.PathLike[str], *, batch: int, threads: int, context_tokens: int) -> None:
        lib.llama_log_set(_SILENT, None)
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(os.fsencode(model), lib.llama_model_default_params())
        self.vocab_size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = context_tokens, 2048, 512, batch
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified, params.n_outputs_max = True, batch
        self.context = lib.llama_init_from_model(self.model, params)
        self.memory = lib.llama_get_memory(self.context)
        self.batch_tokens = lib.llama_n_batch(self.context)
        self.batch = lib.llama_batch_init(self.batch_tokens, 0, 1)

    def close(self) -> None:
        """Free everything."""
        lib.llama_batch_free(self.batch)
        lib.llama_free(self.context)
        lib.llama_model_free(self.model)

    def generate(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[list[int]]:
        """`max_tokens` greedy tokens for each prompt of one static batch, end-of-sequence tokens ignored."""
        outputs: list[list[int]] = [[] for _ in prompts]
        lib.llama_memory_clear(self.memory, False)
        flat = [(token, position, s, position == len(ids) - 1) for s, ids in enumerate(prompts) for position, token in enumerate(ids)]
        for start in range(0, len(flat), self.batch_tokens):
            chunk = flat[start : start + self.batch_tokens]
            for i, row in enumerate(chunk):
                self._set(i, *row)
            self._decode(len(chunk))
            for i, (_, _, s, last) in enumerate(chunk):
                if last:
                    outputs[s].append(self._best(i))
        for step in range(max_tokens - 1):
            for s, ids in enumerate(prompts):
                self._set(s, outputs[s][-1], len(ids) + step, s, True)
            self._decode(len(prompts))
            for s in range(len(prompts)):
                outputs[s].append(self._best(s))
        return outputs

    def _set(self, i: int, token: int, position: int, sequence: int, wanted: bool) -> None:
        batch: Any = self.batch
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, wanted
        batch.seq_id[i][0] = sequence

    def _decode(self, count: int) -> None:
        self.batch.n_tokens = count
        if status := lib.llama_decode(self.context, self.batch):
            raise RuntimeError(f"llama_decode returned {status}")
        lib.llama_synchronize(self.context)

    def _best(self, i: int) -> int:
        return int(np.ctypeslib.as_array(lib.llama_get_logits_ith(self.context, i), (self.vocab_size,)).argmax())


def main() -> None:
    """Load, run one batch, then batches until killed."""
    job = read_job()
    loop = MinimalLoop(job["model"], batch=job["batch"], threads=job["threads"], context_tokens=job["context_tokens"])
    repeat(lambda: loop.generate(job["prompts"], job["tokens"]))


if __name__ == "__main__":
    main()
