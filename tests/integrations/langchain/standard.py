"""What LangChain's standard tests are told of each provider, which is on loopback: the same bare and governed."""

from __future__ import annotations

import base64
import io
import wave
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from aegis_langchain import GovernedChatModel
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from loopback import Providers, providers

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.connect import connect_sync
from aegis_core.testing import private_settings
from aegis_core.testing.contract.base import reserved, spent

_PNG_HEAD = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x02\0\0\0\x02\x08\x02\0\0\0"
_WORLD: dict[str, Any] = {}
"""What models are made with: the loopback providers, and the agent whose calls are governed."""


def world() -> Any:
    """Providers and an agent for a class of tests. Afterwards what was charged is what was billed."""

    @pytest.fixture(scope="class", autouse=True)
    def running(self: Any, server_url: str) -> Iterator[None]:
        settings = private_settings(url=server_url, tenant=f"standard-{uuid4().hex[:12]}")
        with providers() as at, connect_sync(settings=settings) as governor:
            aegis = governor.handshake("standard")
            governor.set_budget("agent", "standard", "day", 1_000)
            _WORLD.update(at=at, aegis=aegis)
            yield
            if self.governed and at.bills:
                charged = (spent(aegis), reserved(aegis))
                assert charged == (at.usd, 0), f"{charged}, and {at.usd} was billed"

    return running


class Fixtures:
    """What the standard tests want beside a model. Nothing is downloaded, and no time is measured."""

    governed = False
    running = world()

    @pytest.fixture
    def benchmark(self) -> Callable[[Callable[[], None]], None]:
        return lambda work: work()

    @pytest.fixture
    def vcr(self) -> Any:
        return type("NoRecording", (), {"responses": ()})

    @pytest.fixture
    def snapshot(self) -> Any:
        class Whatever:
            def __call__(self, name: str) -> Whatever:
                return self

            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None

        return Whatever()

    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(httpx, "get", lambda url, **_: httpx.Response(200, content=_file(url)))


def _file(url: str) -> bytes:
    if url.endswith(".wav"):
        with io.BytesIO() as held:
            with wave.open(held, "wb") as sound:
                sound.setparams((1, 2, 8_000, 800, "NONE", "none"))
                sound.writeframes(b"\0" * 1_600)
            return held.getvalue()
    if url.endswith(".pdf"):
        return b"%PDF-1.4\n1 0 obj<</Type/Page>>endobj\n%%EOF"
    return _PNG_HEAD + zlib.crc32(_PNG_HEAD[12:]).to_bytes(4) + base64.b64decode("AAAAAElFTkSuQmCC")


def at() -> Providers:
    return _WORLD["at"]


def agent() -> SyncGovernedAgent:
    return _WORLD["aegis"]


class Unsaved:
    """LangChain loads classes of its own packages only, so these are not written down."""

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return False


class BareOpenAI(Unsaved, ChatOpenAI):
    """As a program would make it, but for the address."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**{"base_url": at().openai, "api_key": "none", **values})


class BareAnthropic(Unsaved, ChatAnthropic):
    """As a program would make it, but for the address."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**{"base_url": at().root, "api_key": "none", **values})


class BareGemini(Unsaved, ChatGoogleGenerativeAI):
    """As a program would make it, but for the address."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**{"base_url": at().root, "api_key": "none", **values})


def governed(kind: type[BaseChatModel]) -> type[GovernedChatModel]:
    """A class whose models stand before those of another, made with the same parameters."""

    class Governed(GovernedChatModel):
        def __init__(self, **values: Any) -> None:
            super().__init__(aegis=agent(), models=kind(**values))

    return Governed


class OpenAI:
    kind: type[BaseChatModel] = BareOpenAI
    chat_model_params: Any = {"model": "gpt-4.1-mini"}  # noqa: RUF012 - the standard tests read it
    model_override_value = "gpt-4.1-nano"
    init_from_env_params = ({"OPENAI_API_KEY": "none"}, {"model": "gpt-4.1-mini"}, {})
    supports_json_mode = supports_image_inputs = supports_image_urls = supports_pdf_inputs = True
    supports_anthropic_inputs = enable_vcr_tests = True


class Responses(OpenAI):
    chat_model_params: Any = {"model": "gpt-4.1-mini", "use_responses_api": True}  # noqa: RUF012


class Anthropic:
    kind: type[BaseChatModel] = BareAnthropic
    chat_model_params: Any = {"model": "claude-sonnet-4-5"}  # noqa: RUF012
    model_override_value = "claude-haiku-4-5"
    init_from_env_params = ({"ANTHROPIC_API_KEY": "none"}, {"model": "claude-sonnet-4-5"}, {})
    supports_image_inputs = supports_image_urls = supports_pdf_inputs = supports_image_tool_message = True
    supports_pdf_tool_message = supports_anthropic_inputs = enable_vcr_tests = True


class Gemini:
    kind: type[BaseChatModel] = BareGemini
    chat_model_params: Any = {"model": "gemini-2.5-flash"}  # noqa: RUF012
    supports_model_override = False  # LangChain's client of Google refuses the keyword
    init_from_env_params = ({"GOOGLE_API_KEY": "none"}, {"model": "gemini-2.5-flash"}, {})
    supports_json_mode = supports_image_inputs = supports_pdf_inputs = supports_audio_inputs = True
    supports_image_tool_message = supports_pdf_tool_message = enable_vcr_tests = True
