"""LangChain's standard tests pass for a governed model as they do for the bare one, which `make test-deep` shows.

One thing differs: a governed model holds a connection, so it is not written down, and `test_serdes` leaves it out.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from .standard import Anthropic, Fixtures, Gemini, OpenAI, Responses, governed

pytestmark = [pytest.mark.filterwarnings("default")]


class _Bare(Fixtures):
    kind: Any

    @property
    def chat_model_class(self) -> Any:
        return self.kind


class _Governed(Fixtures):
    kind: Any
    governed = True

    @property
    def chat_model_class(self) -> Any:
        return governed(self.kind)


class TestGovernedOpenAI(_Governed, OpenAI, ChatModelIntegrationTests): ...


class TestGovernedAnthropic(_Governed, Anthropic, ChatModelIntegrationTests): ...


class TestGovernedGemini(_Governed, Gemini, ChatModelIntegrationTests): ...


class TestGovernedOpenAIUnits(_Governed, OpenAI, ChatModelUnitTests): ...


class TestGovernedAnthropicUnits(_Governed, Anthropic, ChatModelUnitTests): ...


class TestGovernedGeminiUnits(_Governed, Gemini, ChatModelUnitTests): ...


@pytest.mark.deep
class TestGovernedResponses(_Governed, Responses, ChatModelIntegrationTests): ...


@pytest.mark.deep
class TestBareOpenAI(_Bare, OpenAI, ChatModelIntegrationTests):
    chat_model_params: Any = OpenAI.chat_model_params | {"stream_usage": True}  # a governed model asks for it itself


@pytest.mark.deep
class TestBareResponses(_Bare, Responses, ChatModelIntegrationTests): ...


@pytest.mark.deep
class TestBareAnthropic(_Bare, Anthropic, ChatModelIntegrationTests): ...


@pytest.mark.deep
class TestBareGemini(_Bare, Gemini, ChatModelIntegrationTests): ...


@pytest.mark.deep
class TestBareOpenAIUnits(_Bare, OpenAI, ChatModelUnitTests): ...


@pytest.mark.deep
class TestBareAnthropicUnits(_Bare, Anthropic, ChatModelUnitTests): ...


@pytest.mark.deep
class TestBareGeminiUnits(_Bare, Gemini, ChatModelUnitTests): ...
