"""How much fits into a request, a step and the KV cache of the engine as it was loaded. Plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tpb_core.api import Sampling


@dataclass(frozen=True)
class Room:
    """Limits in tokens, sequences and KV-cache blocks of `block_tokens`."""

    request_tokens: int
    step_tokens: int
    sequences: int
    blocks: int
    block_tokens: int

    def too_long(self, input_tokens: int, sampling: Sampling) -> str | None:
        """Why a request can never run to its end; None where it can."""
        if input_tokens + sampling.max_output_tokens <= self.request_tokens:
            return None
        wanted = f"{input_tokens} input and {sampling.max_output_tokens} output tokens"
        return f"{wanted} do not fit into {self.request_tokens} (engine.max_model_len)"

    def too_much_for_one_step(self, prompts: Sequence[tuple[int, Sampling]]) -> str | None:
        """Why the prompts of a batch (input tokens and sampling of each) cannot all be computed in one step; None where they can."""
        tokens = sum(input_tokens * sampling.n for input_tokens, sampling in prompts)
        if tokens > self.step_tokens:
            return f"these prompts have {tokens} tokens where a step has {self.step_tokens} (engine.max_num_batched_tokens)"
        sequences = sum(sampling.n for _, sampling in prompts)
        if sequences > self.sequences:
            return f"there are {sequences} sequences where a step has {self.sequences} (engine.max_num_seqs)"
        blocks = sum(math.ceil((length + sampling.max_output_tokens) / self.block_tokens) * sampling.n for length, sampling in prompts)
        if blocks > self.blocks:
            return f"they need {blocks} blocks of KV cache of {self.blocks} (engine.kv_cache_gib)"
        return None

    def holds_any_batch(self, requests: int) -> bool:
        """Whether the prompts of any `requests` requests fit into one step, and all of them into the KV cache to their ends."""
        longest = Sampling(max_output_tokens=1)
        return self.too_much_for_one_step([(self.request_tokens - 1, longest)] * requests) is None
