"""The token batch that llama.cpp reads, in memory of numpy's: a step is filled in with a few array writes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


class TokenBatch:
    """Room for `size` tokens. The arrays are what `struct llama_batch` points to; they live as long as this object."""

    def __init__(self, lib: Any, size: int) -> None:
        self._token: npt.NDArray[np.int32] = np.zeros(size, dtype=np.int32)
        self._position: npt.NDArray[np.int32] = np.zeros(size, dtype=np.int32)
        self._sequence: npt.NDArray[np.int32] = np.zeros(size, dtype=np.int32)
        self._wanted: npt.NDArray[np.int8] = np.zeros(size, dtype=np.int8)
        self._sequence_counts: npt.NDArray[np.int32] = np.ones(size, dtype=np.int32)
        # each token points to a list of sequence ids; ours has one entry, in `_sequence`
        addresses = self._sequence.ctypes.data + self._sequence.itemsize * np.arange(size, dtype=np.uint64)
        self._sequence_lists: npt.NDArray[np.uint64] = addresses.astype(np.uint64)
        self.struct = lib.llama_batch(
            n_tokens=0,
            token=_pointer(self._token, ctypes.POINTER(lib.llama_token)),
            embd=None,
            pos=_pointer(self._position, ctypes.POINTER(lib.llama_pos)),
            n_seq_id=_pointer(self._sequence_counts, ctypes.POINTER(ctypes.c_int32)),
            seq_id=_pointer(self._sequence_lists, ctypes.POINTER(ctypes.POINTER(lib.llama_seq_id))),
            logits=_pointer(self._wanted, ctypes.POINTER(ctypes.c_int8)),
        )

    def set_decoding(self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int]) -> None:
        """Begin a batch with one token for each of these sequences, logits wanted for all."""
        count = len(tokens)
        self._token[:count] = tokens
        self._position[:count] = positions
        self._sequence[:count] = sequences
        self._wanted[:count] = 1
        self.struct.n_tokens = count

    def add_chunk(self, tokens: Sequence[int], position: int, sequence: int, *, wanted: bool) -> int:
        """Add a stretch of a prompt that begins at `position`; `wanted`: logits for its last token. Returns the index of that token."""
        start = self.struct.n_tokens
        end = start + len(tokens)
        self._token[start:end] = tokens
        self._position[start:end] = np.arange(position, position + len(tokens), dtype=np.int32)
        self._sequence[start:end] = sequence
        self._wanted[start:end] = 0
        self._wanted[end - 1] = wanted
        self.struct.n_tokens = end
        return int(end - 1)


def _pointer(array: npt.NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, kind)
