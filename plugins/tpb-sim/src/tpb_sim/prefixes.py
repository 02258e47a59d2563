"""The prefix cache of the simulated engine: which beginnings of prompts it has computed before, in whole blocks."""

from __future__ import annotations

from collections.abc import Sequence

BLOCK_TOKENS = 16


class PrefixCache:
    """Knows prompts by chained hashes of their blocks. Never forgets until it is cleared."""

    def __init__(self) -> None:
        self._known: set[int] = set()

    def look_up_and_add(self, ids: Sequence[int]) -> int:
        """Tokens at the beginning of `ids` that are cached; at least one is left to compute. All of `ids` is cached from now on."""
        cached, chain, unbroken = 0, 0, True
        for begin in range(0, len(ids) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
            chain = hash((chain, tuple(ids[begin : begin + BLOCK_TOKENS])))
            unbroken = unbroken and chain in self._known
            if unbroken and begin + BLOCK_TOKENS < len(ids):
                cached = begin + BLOCK_TOKENS
            self._known.add(chain)
        return cached

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
