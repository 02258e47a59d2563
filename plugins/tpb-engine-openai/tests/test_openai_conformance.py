"""The engine under the conformance suite, against the stand-in: with token ids, with text, and through the chat API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from tpb_core.testing.engine_suite import EngineSuite
from tpb_core.testing.openai_double import DoubleSettings, OpenAiDouble
from tpb_engine_openai import OpenAiConfig


@pytest.fixture(scope="module")
def paced() -> Iterator[OpenAiDouble]:
    """Slow enough that requests overlap, and slower to its first token the longer the prompt."""
    with OpenAiDouble(DoubleSettings(first_token_s=0.01, prompt_token_s=0.0002, token_s=0.01)) as double:
        yield double


class TestWithTokenIds(EngineSuite):
    missing_model: ClassVar[str | None] = "no-such-model"

    @pytest.fixture
    def config(self, paced: OpenAiDouble) -> OpenAiConfig:
        return OpenAiConfig(url=paced.url)


class TestWithText(TestWithTokenIds):
    @pytest.fixture
    def config(self, paced: OpenAiDouble) -> OpenAiConfig:
        return OpenAiConfig(url=paced.url, token_ids=False)


class TestChat(TestWithTokenIds):
    @pytest.fixture
    def config(self, paced: OpenAiDouble) -> OpenAiConfig:
        return OpenAiConfig(url=paced.url, api="chat")
