"""An answer that an SDK cannot parse is billed all the same: its usage is read where the SDK holds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anthropic
import openai
import pytest
from loopback import Providers, providers
from loopback.answering import Asked, Said
from pydantic import BaseModel, ValidationError

import aegis_core
from aegis_core.metering.failures import judge
from aegis_core.settings import Settings


class Verse(BaseModel):
    line: str


def prose(asked: Asked) -> Said:
    """What no schema takes."""
    return Said("It is no JSON at all.")


@pytest.fixture
def provider() -> Iterator[Providers]:
    with providers(prose) as running:
        yield running


def ask_openai(provider: Providers) -> None:
    client = openai.OpenAI(api_key="k", base_url=provider.openai)
    client.chat.completions.parse(
        model="gpt-4o-mini", messages=[{"role": "user", "content": "a line"}], response_format=Verse, max_tokens=200
    )


def ask_anthropic(provider: Providers) -> None:
    client = anthropic.Anthropic(api_key="k", base_url=provider.root)
    client.messages.parse(
        model="claude-sonnet-4-5", messages=[{"role": "user", "content": "a line"}], output_format=Verse, max_tokens=200
    )


@pytest.mark.parametrize(("model", "ask"), [("gpt-4o-mini", ask_openai), ("claude-sonnet-4-5", ask_anthropic)])
def test_a_block_is_charged_what_was_billed(
    settings: Settings, provider: Providers, model: str, ask: Callable[[Providers], None]
) -> None:
    with aegis_core.connect_sync(settings=settings) as governor:
        agent = governor.handshake("a")
        with (
            pytest.raises(ValidationError),
            agent.permit(
                "A line", resource_type="llm_tokens", model=model, prompt_tokens=300, max_output_tokens=200
            ) as grant,
        ):
            ask(provider)
        receipt = grant.receipt
        assert receipt is not None
        assert (receipt.charged_usd, receipt.estimated) == (provider.usd, False)
        assert provider.usd > 0


def test_what_a_program_holds_itself_is_not_looked_at() -> None:
    completion = {"usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
    with pytest.raises(ValueError, match="of another call") as raised:
        raise ValueError(f"of another call: {len(completion)}")
    assert judge(raised.value).kind == "unknown"
