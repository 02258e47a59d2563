"""Part of the engine suite: the class, its options, its errors, and what it says of itself."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from tpb_core.api import ENGINE_INTERFACE, BadInput, Refused, TpbError, Unavailable
from tpb_core.api.versions import is_compatible
from tpb_core.testing.engine_fixtures import EngineFixtures
from tpb_core.testing.engine_session import EngineSession, engine_class
from tpb_core.testing.recording_sink import RecordingSink


class EngineContract(EngineFixtures):
    """What holds before any request runs."""

    def test_interface_version_is_one_that_this_core_loads(self, config: Any) -> None:
        """`interface_version` is compatible."""
        assert is_compatible(engine_class(config).interface_version, ENGINE_INTERFACE)

    def test_every_option_has_help(self, config: Any) -> None:
        """The option table of `tpb +engine=x --help` comes from here; times carry their unit."""
        for field in dataclasses.fields(config):
            assert field.metadata.get("help"), f"option {field.name} has no help text"
            for suffix, unit in {"_ms": "ms", "_s": "s", "_tokens": "tokens"}.items():
                if field.name.endswith(suffix):
                    assert field.metadata.get("unit") == unit, f"option {field.name} has unit {field.metadata.get('unit')!r}"
        assert type(config) is engine_class(config).config_class

    def test_import_is_light(self, config: Any) -> None:
        """Importing the plugin pulls in no heavy library: `tpb plugins list` and `tpb --help` stay fast."""
        code = f"import sys, {engine_class(config).__module__}; print(*[m for m in {list(self.heavy_modules)!r} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split() == []

    def test_check_gives_a_version(self, config: Any) -> None:
        """`check` works without an instance."""
        assert engine_class(config).check()

    def test_missing_model_is_an_error_with_a_way_out(self, config: Any, sink: RecordingSink) -> None:
        """`BadInput`, `Refused` or `Unavailable` with what to type; closing works afterwards."""
        if self.missing_model is None:
            pytest.skip("the engine loads no model")
        engine = engine_class(config)(dataclasses.replace(config, model=self.missing_model), self.context(config))
        with pytest.raises((BadInput, Refused, Unavailable)) as refusal:
            engine.open(sink)
        assert isinstance(refusal.value, TpbError)
        assert refusal.value.fix, "say what to type"
        engine.close()

    def test_description_agrees_with_the_capabilities(self, session: EngineSession) -> None:
        """Name, version, unique instances, and a step log exactly where one is claimed."""
        description, capabilities = session.description, session.capabilities
        assert description.name == session.config.name
        assert description.version
        names = [instance["instance"] for instance in description.instances]
        assert len(set(names)) == len(names)
        assert description.step_log["available"] == capabilities.step_log
        assert description.step_log["members"] == capabilities.step_members
        assert capabilities.step_log or description.step_log["reason"]

    def test_tokenizer_takes_many_texts(self, session: EngineSession) -> None:
        """Encode and decode are each other's inverse, without special tokens; chat is rendered or refused."""
        if not session.capabilities.tokenizer:
            pytest.skip("capability tokenizer is not claimed")
        tokenizer, texts = session.engine.tokenizer(), ["The sun", "Ein längerer Satz, mit Umlauten."]
        ids = tokenizer.encode(texts)
        assert [text.strip() for text in tokenizer.decode(ids)] == texts
        assert tokenizer.encode([texts[0]]) == ids[:1]
        try:
            chats = tokenizer.render_chat([[{"role": "user", "content": texts[0]}]])
        except BadInput:
            return
        assert len(chats[0]) > len(ids[0])
