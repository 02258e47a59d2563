"""Choosing the next token: greedy by argmax over all rows at once, or a sampler chain of llama.cpp for each request that wants one."""

from __future__ import annotations

import ctypes

import numpy as np
import numpy.typing as npt

from tpb_core.api import Sampling
from tpb_engine_llamacpp.loaded import Loaded
from tpb_engine_llamacpp.tokens import LlamaTokenizer


class Logits:
    """The rows of logits of the last step, in the order of the batch."""

    def __init__(self, loaded: Loaded) -> None:
        function = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
        # the same symbol as `llama_get_logits`, with a bare address as its result: no pointer object a step
        self._address = function(("llama_get_logits", loaded.lib._lib))
        self._context, self._width = loaded.context, loaded.vocab_size
        self._known: tuple[int, int] = (0, 0)
        self._rows: npt.NDArray[np.float32] = np.empty((0, self._width), dtype=np.float32)

    def greedy(self, count: int) -> list[int]:
        """The ids with the highest logit in each of the `count` rows; the lowest id of equals."""
        known = (self._address(self._context), count)
        if known != self._known:
            block = (ctypes.c_float * (count * self._width)).from_address(known[0])
            self._rows = np.ctypeslib.as_array(block).reshape(count, self._width)
            self._known = known
        return self._rows.argmax(axis=1).tolist()  # type: ignore[no-any-return]


class Draw:
    """A seeded draw: temperature first, then top-k, then top-p, as Transformers and vLLM order them. Holds a chain of llama.cpp's."""

    def __init__(self, loaded: Loaded, sampling: Sampling, default_seed: int) -> None:
        lib = self._lib = loaded.lib
        self._context = loaded.context
        self._chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        parts = [lib.llama_sampler_init_temp(sampling.temperature)]
        if sampling.top_k > 0:
            parts.append(lib.llama_sampler_init_top_k(sampling.top_k))
        if sampling.top_p < 1:
            parts.append(lib.llama_sampler_init_top_p(sampling.top_p, 1))
        seed = sampling.seed if sampling.seed is not None else default_seed
        parts.append(lib.llama_sampler_init_dist(seed % 0xFFFFFFFF))  # that number itself would mean a random seed
        for part in parts:
            lib.llama_sampler_chain_add(self._chain, part)

    def token(self, index: int) -> int:
        """The next id, from the logits of token `index` of the last batch."""
        token: int = self._lib.llama_sampler_sample(self._chain, self._context, index)
        return token

    def close(self) -> None:
        """Free the chain. Idempotent."""
        if self._chain:
            self._lib.llama_sampler_free(self._chain)
            self._chain = None


class StopStrings:
    """Watches the text of one request for its stop strings."""

    def __init__(self, tokenizer: LlamaTokenizer, stops: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._stops = [stop.encode() for stop in stops if stop]
        self._longest = max(map(len, self._stops), default=0)
        self._text = b""

    def met(self, token: int) -> bool:
        """Whether the text holds a stop string now that `token` has come."""
        piece = self._tokenizer.piece(token)
        self._text += piece
        tail = self._text[-(self._longest + len(piece)) :]
        return any(stop in tail for stop in self._stops)

    def text(self) -> str:
        """The text up to the first stop string."""
        ends = [place for stop in self._stops if (place := self._text.find(stop)) >= 0]
        return self._text[: min(ends)].decode("utf-8", "replace") if ends else self._text.decode("utf-8", "replace")
