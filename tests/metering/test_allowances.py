"""What a request says that it allows: reserved at the dearest way that it allows, and no dearer one."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from aegis_core import Allowance, ConflictError, InvalidRequestError, Settings, connect_sync
from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.metering.allowed import allowance_of
from aegis_core.metering.bound import bound
from aegis_core.protocol.keywords import RequestFields
from aegis_core.protocol.usage import ORDINARY

WISH: RequestFields = {"model": "claude-sonnet-4-5", "prompt_tokens": 10_000, "max_output_tokens": 0}
FRESH = 10_000 * Decimal("3e-6")


@pytest.fixture
def agent(settings: Settings) -> Iterator[SyncGovernedAgent]:
    with connect_sync(settings=settings) as governor:
        yield governor.handshake("a", session_budget_usd="4.60")


def reserved(agent: SyncGovernedAgent, **fields: Any) -> Decimal:
    verdict = agent.request("Answer", **{**WISH, **fields})
    assert verdict.granted, verdict.reason
    agent.release(verdict.grant_id or "")
    return verdict.reserved_usd


@pytest.mark.parametrize(("cache_write", "share"), [("none", "1"), ("5m", "1.25"), ("1h", "2")])
def test_input_is_reserved_as_written_to_a_cache_only_where_it_may_be(
    agent: SyncGovernedAgent, cache_write: Any, share: str
) -> None:
    assert reserved(agent, allows=Allowance(cache_write=cache_write)) == FRESH * Decimal(share)


def test_nothing_said_is_the_ordinary(agent: SyncGovernedAgent) -> None:
    assert reserved(agent) == reserved(agent, allows=ORDINARY) == FRESH * Decimal("1.25")


def test_a_tier_is_reserved_at_its_price(agent: SyncGovernedAgent) -> None:
    wish: Any = {"model": "gpt-5.5", "prompt_tokens": 1_000, "max_output_tokens": 100}
    plain = reserved(agent, **wish)
    assert reserved(agent, **wish, allows=Allowance(service_tier="priority")) > plain
    assert reserved(agent, **wish, allows=Allowance(service_tier="flex")) < plain


def test_hosted_tools_are_reserved_with_their_fees(agent: SyncGovernedAgent) -> None:
    nothing = Allowance(cache_write="none")
    assert reserved(agent, allows=nothing.model_copy(update={"web_searches": 3})) == FRESH + Decimal("0.03")


def test_sound_is_reserved_at_its_own_rate(agent: SyncGovernedAgent) -> None:
    wish: Any = {"model": "gpt-4o-audio-preview", "prompt_tokens": 1_000, "max_output_tokens": 100}
    assert reserved(agent, **wish, allows=Allowance(audio_input_tokens=1_000, audio_output=True)) > 5 * reserved(
        agent, **wish
    )


def test_what_has_no_price_is_refused_by_its_name(agent: SyncGovernedAgent) -> None:
    with pytest.raises(InvalidRequestError, match="service_tier"):
        agent.request("Answer", **WISH, allows=Allowance(service_tier="ultrafast"))


def test_a_model_without_a_price_for_it_is_not_recommended(agent: SyncGovernedAgent) -> None:
    wish: Any = {"prompt_tokens": 1_000, "max_output_tokens": 100, "logic_density": 9}
    verdict = agent.request("Answer", **wish, allows=Allowance(service_tier="priority"))
    assert verdict.granted
    agent.release(verdict.grant_id or "")
    refused = agent.request("Answer", **wish, allows=Allowance(service_tier="ultrafast"))
    assert (refused.status, refused.code) == ("REJECTED", "no_model")
    assert "None of the models" in refused.reason


def test_a_shorter_answer_is_priced_for_what_is_allowed(agent: SyncGovernedAgent) -> None:
    """A cut answer, too, has its hosted tools' fees."""
    tools = Allowance(cache_write="none", web_searches=450)
    wish: Any = {"max_output_tokens": 60_000, "min_output_tokens": 10}
    verdict = agent.request("Answer", **{**WISH, **wish}, allows=tools)
    assert verdict.granted
    assert verdict.max_output_tokens is not None
    assert verdict.max_output_tokens < 60_000
    assert Decimal("4.53") < verdict.reserved_usd <= Decimal("4.60")
    agent.release(verdict.grant_id or "")


def test_another_allowance_under_the_same_id_is_another_request(agent: SyncGovernedAgent) -> None:
    agent.request("Answer", **WISH, request_id="r", allows=Allowance(cache_write="1h"))
    with pytest.raises(ConflictError):
        agent.request("Answer", **WISH, request_id="r", allows=Allowance(cache_write="none"))
    agent.release(agent.request("Answer", **WISH, request_id="r", allows=Allowance(cache_write="1h")).grant_id or "")


def test_a_bound_says_what_it_allows() -> None:
    body = {
        "model": "claude-sonnet-4-5", "max_tokens": 100, "service_tier": "priority", "inference_geo": "us",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"ttl": "1h"}}]}],
        "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
    }  # fmt: skip
    found = allowance_of(bound(body, api="anthropic"))
    assert (found.cache_write, found.web_searches, found.service_tier, found.inference_geo) == (
        "1h",
        2,
        "priority",
        "us",
    )
