"""What one step has to do, summed over its members, and what it takes: the two records between servers and cost models."""

from __future__ import annotations

from typing import NamedTuple


class Work(NamedTuple):
    """The work of one step. Token counts leave padding out; KV lengths are those at the start of the step."""

    prefill_tokens: int = 0
    prefill_kv_tokens: int = 0
    """Sum over sequences in prefill of the tokens that they hold already (earlier chunks, cached prefixes)."""
    prefill_pairs: int = 0
    """Query-key pairs of causal attention in prefill: sum of p*c + p*(p+1)/2 for p new tokens behind c old ones."""
    decode_tokens: int = 0
    """Decoded positions, drafted ones included."""
    kv_tokens: int = 0
    """Sum over decoding sequences of their KV length."""
    prefill_padding_tokens: int = 0
    decode_padding_tokens: int = 0

    def prefill_only(self) -> Work:
        """The same step had there been no decode: the counterfactual that split rules ask for."""
        return self._replace(decode_tokens=0, kv_tokens=0, decode_padding_tokens=0)

    def decode_only(self) -> Work:
        """The same step had there been no prefill."""
        return self._replace(prefill_tokens=0, prefill_kv_tokens=0, prefill_pairs=0, prefill_padding_tokens=0)

    @property
    def mixed(self) -> bool:
        """Whether both phases take part."""
        return self.prefill_tokens > 0 and self.decode_tokens > 0

    @property
    def computed_prefill_tokens(self) -> int:
        """Prefill positions that the device computes, padding included."""
        return self.prefill_tokens + self.prefill_padding_tokens

    @property
    def computed_decode_tokens(self) -> int:
        """Decode positions that the device computes, padding included."""
        return self.decode_tokens + self.decode_padding_tokens


class StepCost(NamedTuple):
    """What a step takes on its devices together: seconds, and joules above static power."""

    duration_s: float
    joules: float
