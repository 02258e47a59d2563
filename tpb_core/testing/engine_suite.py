"""The conformance suite of engines. An engine plugin passes it before its figures can stand beside those of others:

    class TestMine(EngineSuite):
        @pytest.fixture
        def config(self, tiny_model):
            return MyConfig(model=str(tiny_model))

The engine is the one that the entry point `config.name` names. It is opened once for the class. Tests of what an engine's
`Capabilities` do not claim are skipped by name. Sizes are class attributes (`EngineFixtures`) and may be changed.
"""

from __future__ import annotations

from tpb_core.testing.engine_contract import EngineContract
from tpb_core.testing.engine_counts import EngineCounts
from tpb_core.testing.engine_lifetime import EngineLifetime
from tpb_core.testing.engine_steps import EngineSteps


class EngineSuite(EngineContract, EngineCounts, EngineSteps, EngineLifetime):
    """Tests of one engine. Override the fixture `config`; the rest follows."""
