"""A callback sees no answer that LangChain's client of OpenAI could not parse; what it was billed is charged."""

from __future__ import annotations

import pytest
from aegis_langchain import AegisCallbackHandler
from langchain_openai import ChatOpenAI
from loopback import providers
from loopback.answering import Said
from pydantic import BaseModel, SecretStr, ValidationError

from aegis_core.connect import connect_sync
from aegis_core.settings import Settings
from aegis_core.testing.contract.base import reserved, spent


class Verse(BaseModel):
    line: str


def test_it_is_charged_as_billed(settings: Settings) -> None:
    with providers(lambda asked: Said("It is no JSON.")) as provider, connect_sync(settings=settings) as governor:
        aegis = governor.handshake("a")
        chat = ChatOpenAI(
            model="gpt-4o-mini", api_key=SecretStr("k"), base_url=provider.openai, max_completion_tokens=200
        )
        model = chat.with_structured_output(Verse, method="json_schema")
        with pytest.raises(ValidationError):
            model.invoke("A line", config={"callbacks": [AegisCallbackHandler(aegis)]})
        assert spent(aegis) == provider.usd > 0
        assert reserved(aegis) == 0
