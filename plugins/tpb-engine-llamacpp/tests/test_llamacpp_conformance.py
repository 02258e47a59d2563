"""The llama.cpp engine under the conformance suite, with its prefix cache off and on."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest

from tpb_core.testing.engine_session import EngineSession
from tpb_core.testing.engine_suite import EngineSuite
from tpb_core.testing.recording_sink import RecordingSink
from tpb_engine_llamacpp import LlamaCppConfig

pytestmark = pytest.mark.real_engine


class TestLlamaCpp(EngineSuite):
    context_tokens: ClassVar[int] = 128

    @pytest.fixture
    def config(self) -> LlamaCppConfig:
        # one thread: threads of llama.cpp wait for each other by spinning, which takes for ever on a busy machine
        return LlamaCppConfig(threads=1)

    def test_same_seed_same_count(self, session: EngineSession) -> None:
        """Overridden because the suite wants the same ids alone and beside other requests.

        llama.cpp picks kernels by the number of rows, and so the order of its sums: logits of a batch differ from those of a lone
        request by rounding. The same batch gives the same ids, whatever its other requests say, and lengths are the same in any.
        """
        sampling = self.sampling(temperature=1.0, top_p=0.9, seed=7)
        first, *others = session.requests(self.requests, self.input_tokens, sampling)
        strangers = [replace(other, input_ids=[100 + (7919 * n + 31 * i) % 40_000 for i in range(40)]) for n, other in enumerate(others)]
        alone, again, beside, beside_strangers = (RecordingSink() for _ in range(4))
        for requests, sink in (([first], alone), ([first], again), ([first, *others], beside), ([first, *strangers], beside_strangers)):
            session.engine.reset_caches()  # a cached beginning changes the shape of the batch
            session.run(requests, sink)
        assert alone.requests[0].ids == again.requests[0].ids
        assert beside.requests[0].ids == beside_strangers.requests[0].ids
        assert beside.requests[0].output_tokens == alone.requests[0].output_tokens == self.output_tokens


class TestLlamaCppWithPrefixCache(TestLlamaCpp):
    @pytest.fixture
    def config(self) -> LlamaCppConfig:
        return LlamaCppConfig(threads=1, prefix_cache=True)
