"""Put on the path of an engine worker, this gives every call of llama_decode a known cost in joules, and writes it down as it happens.

The cost of a call is a power, known from its tokens when it begins, times the time that it really takes. The file that DECODE_COST_LOG
names holds the number of calls, then for each call begin and end (ns, end 0 while it goes on), its power (mW), and its prefill and decode
tokens: eight bytes each.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import struct
import sys
import time
from collections import Counter
from typing import Any

BINDINGS = "llama_cpp.llama_cpp"
RECORD = struct.Struct("5q")
PREFILL_MW, DECODE_MW, SEQUENCE_MW = (int(word) for word in os.environ.get("DECODE_COST_MW", "0 0 0").split())


class Log:
    """The file. Power: one for a call with prompts in it; for decoding alone another one, and more for each sequence."""

    def __init__(self, path: str) -> None:
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._count = struct.unpack_from("q", self._map, 0)[0]

    def around(self, decode: Any) -> Any:
        """llama_decode with its cost."""

        def decode_with_cost(context: Any, batch: Any) -> Any:
            tokens = Counter(batch.seq_id[place][0] for place in range(batch.n_tokens))
            first = {batch.seq_id[place][0]: batch.pos[place] for place in reversed(range(batch.n_tokens))}
            decoding = sum(1 for sequence, count in tokens.items() if count == 1 and first[sequence] > 0)
            prefilling = batch.n_tokens - decoding
            power_mw = PREFILL_MW if prefilling else DECODE_MW + SEQUENCE_MW * decoding
            at = 8 + self._count * RECORD.size
            RECORD.pack_into(self._map, at, time.monotonic_ns(), 0, power_mw, prefilling, decoding)
            self._count += 1
            struct.pack_into("q", self._map, 0, self._count)
            try:
                return decode(context, batch)
            finally:
                struct.pack_into("q", self._map, at + 8, time.monotonic_ns())

        return decode_with_cost


class Finder:
    """Wraps the function when the bindings are imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != BINDINGS:
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]  # a finder needs no base class
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            module.llama_decode = Log(os.environ["DECODE_COST_LOG"]).around(module.llama_decode)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]  # the loader of this one module
        return spec


if "DECODE_COST_LOG" in os.environ:
    sys.meta_path.insert(0, Finder())  # type: ignore[arg-type]  # a finder needs no base class
