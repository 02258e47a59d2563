"""The KV cache as a pool: sequence ids and cells are given to requests, taken back, and kept for prefix reuse where that is asked for."""

from __future__ import annotations

from tpb_engine_llamacpp.loaded import Loaded
from tpb_engine_llamacpp.sequence import Sequence


class KvCells:
    """Hands out sequence ids. A request is given all the cells that it can come to need at once, so that none runs out on its way.

    Prompts that are kept for reuse hold their cells until others need them, the longest unused first. Cells that a prompt shares with
    another are counted twice, which errs on the safe side.
    """

    def __init__(self, loaded: Loaded, *, keep_prompts: bool) -> None:
        self._lib, self._memory = loaded.lib, loaded.memory
        self._cells, self._keep = loaded.context_tokens, keep_prompts
        self._free = list(range(loaded.sequences - 1, -1, -1))
        self._given: dict[int, Sequence] = {}
        self._kept: dict[int, list[int]] = {}
        """Sequence id to token ids in its cells, the longest unused first."""

    def give(self, sequence: Sequence) -> bool:
        """Place a request; sets its slot, `computed` and, the first time, `cached`. False where there is no room now."""
        spare = self._cells - sum(other.room for other in self._given.values()) - sequence.room
        if spare < 0 or not (self._free or self._kept):
            return False
        first_time = sequence.recompute_end == 0
        source, common = self._best_source(sequence) if self._keep and first_time else (-1, 0)
        if source in self._kept:
            self._kept[source] = self._kept.pop(source)  # used just now: the last to be forgotten
        while self._kept and next(iter(self._kept)) != source and (sum(map(len, self._kept.values())) > spare or not self._free):
            self._forget(next(iter(self._kept)))
        if self._kept and (sum(map(len, self._kept.values())) > spare or not self._free):  # only the source is left: take it over
            del self._kept[source]
            slot, common = source, common if self._remove(source, common) else 0
        else:
            slot = self._free.pop()
            if common:
                self._lib.llama_memory_seq_cp(self._memory, source, slot, 0, common)
        sequence.slot, sequence.computed = slot, common
        if first_time:
            sequence.cached = common
        self._given[slot] = sequence
        return True

    def take_back(self, sequence: Sequence, *, keep: bool = True) -> None:
        """Free the cells of a request; where prompts are kept, leave them to be reused (`keep`: False after an error)."""
        slot = sequence.slot
        del self._given[slot]
        if self._keep and keep and sequence.computed:
            self._kept[slot] = (sequence.ids + sequence.outputs)[: sequence.computed]
        else:
            self._remove(slot, 0)
            self._free.append(slot)
        sequence.slot = -1

    def forget_prompts(self) -> bool:
        """Free all cells that are kept for reuse; False where there were none."""
        kept = list(self._kept)
        for slot in kept:
            self._forget(slot)
        return bool(kept)

    def _best_source(self, sequence: Sequence) -> tuple[int, int]:
        """The sequence id with the longest common beginning, kept or running, and its length. The last input token is always computed."""
        best, longest = -1, 0
        ids = sequence.ids
        running = ((slot, (other.ids + other.outputs)[: other.computed]) for slot, other in self._given.items())
        for slot, tokens in (*self._kept.items(), *running):
            most = min(len(tokens), len(ids) - 1)
            if most <= longest or tokens[:longest] != ids[:longest]:
                continue
            common = next((i for i in range(longest, most) if tokens[i] != ids[i]), most)
            if common > longest:
                best, longest = slot, common
        return best, longest

    def _forget(self, slot: int) -> None:
        del self._kept[slot]
        self._remove(slot, 0)
        self._free.append(slot)

    def _remove(self, slot: int, start: int) -> bool:
        """Remove the cells of a sequence from a position on; all of them where llama.cpp cannot cut there (then False)."""
        if self._lib.llama_memory_seq_rm(self._memory, slot, start, -1):
            return True
        self._lib.llama_memory_seq_rm(self._memory, slot, -1, -1)
        return False
