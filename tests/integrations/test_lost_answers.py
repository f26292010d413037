"""Calls whose answer was lost, cut or refused, by real SDKs against a provider that bills: through every adapter."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.protocol.denial import AegisDenied
from aegis_core.testing.contract.base import reserved, spent

from .billing import USAGE, Answer, Billing, billing
from .callers import WHOLE, quietly
from .calling import aegis, governor

pytestmark = pytest.mark.concurrent

__all__ = ["aegis", "governor"]

PRICE = Decimal("0.15e-6") * USAGE["prompt_tokens"] + Decimal("0.6e-6") * USAGE["completion_tokens"]
HANGS, FAILS = Answer(hangs=True), Answer(500)


class Weather(BaseModel):
    sunny: bool
    place: str


ADAPTERS = list(WHOLE)
WATCHED = [name for name in ADAPTERS if name != "callback"]
"""Those that see each attempt of the SDK."""


def called(adapter: str, provider: Billing, aegis: SyncGovernedAgent, repeats: int = 0, schema: Any = None) -> Any:
    """The error of a call, if any."""
    try:
        quietly(WHOLE[adapter], provider.url, aegis, repeats, schema)
    except Exception as error:
        return error
    return None


def settlements(governor: SyncGovernor) -> list[Any]:
    return [event for event in governor.events() if event.kind == "settled"]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_call_that_times_out_is_charged_as_reserved(
    governor: SyncGovernor, aegis: SyncGovernedAgent, adapter: str
) -> None:
    with billing(HANGS) as provider:
        assert called(adapter, provider, aegis) is not None
        assert len(provider.requests) == 1
    (settled,) = settlements(governor)
    assert settled.facts["estimated"]
    assert spent(aegis) > 0
    assert reserved(aegis) == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_each_attempt_that_may_be_billed_is_charged(
    governor: SyncGovernor, aegis: SyncGovernedAgent, adapter: str
) -> None:
    """The SDK asked twice by itself, and nobody knows of either what it computed."""
    with billing(HANGS) as provider:
        assert called(adapter, provider, aegis) is not None
    once = spent(aegis)
    with billing(HANGS) as provider:
        assert called(adapter, provider, aegis, repeats=1) is not None
        assert provider.attempts == ["0", "1"]
    assert spent(aegis) == 3 * once
    assert reserved(aegis) == 0


@pytest.mark.parametrize("adapter", WATCHED)
def test_an_answer_after_lost_ones_is_charged_exactly_beside_them(aegis: SyncGovernedAgent, adapter: str) -> None:
    with billing(HANGS) as provider:
        assert called(adapter, provider, aegis) is not None
    once = spent(aegis)
    with billing(HANGS, Answer()) as provider:
        assert called(adapter, provider, aegis, repeats=1) is None
    assert spent(aegis) == 2 * once + PRICE
    assert reserved(aegis) == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_attempts_that_computed_nothing_are_free(aegis: SyncGovernedAgent, adapter: str) -> None:
    with billing(FAILS, Answer()) as provider:
        assert called(adapter, provider, aegis, repeats=1) is None
        assert len(provider.requests) == 2
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)
    refused = Billing()
    refused.url = provider.url  # nobody listens there any more
    assert called(adapter, refused, aegis) is not None
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)


@pytest.mark.parametrize("adapter", WATCHED)
def test_a_further_attempt_is_refused_where_the_money_is_gone(
    governor: SyncGovernor, aegis: SyncGovernedAgent, adapter: str
) -> None:
    """The first one is charged as reserved, and the second is not sent."""
    with billing(HANGS) as provider:
        assert called(adapter, provider, aegis) is not None
    once = spent(aegis)
    governor.set_budget("agent", aegis.agent_id, "day", once * Decimal("2.2"))
    with billing(HANGS) as provider:
        error = called(adapter, provider, aegis, repeats=5)
        assert len(provider.requests) == 1
    denied = AegisDenied.from_exception(error)
    assert denied is not None
    assert denied.code == "budget_exceeded"
    assert (spent(aegis), reserved(aegis)) == (2 * once, 0)


@pytest.mark.parametrize("adapter", WATCHED)
def test_an_answer_that_is_not_what_was_asked_for_is_charged_exactly(aegis: SyncGovernedAgent, adapter: str) -> None:
    """The SDK refuses it; it came whole, with its usage."""
    with billing(Answer(text='{"sunny": "perhaps"}')) as provider:
        called(adapter, provider, aegis, schema=Weather)
        assert len(provider.requests) == 1
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_an_answer_that_is_cut_at_the_cap_is_charged_exactly(aegis: SyncGovernedAgent, adapter: str) -> None:
    """The structured answer cannot be read, and was billed: the error carries its usage."""
    with billing(Answer(text='{"sunny": tr', finish="length")) as provider:
        called(adapter, provider, aegis, schema=Weather)
        assert len(provider.requests) == 1
        assert "sunny" in json.dumps(provider.requests[0]["response_format"])
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)
