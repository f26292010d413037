"""Streams of a provider that bills: asked for their usage, counted once, and else reckoned by their text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from aegis_core.client.sync import SyncGovernedAgent, SyncGovernor
from aegis_core.testing.contract.base import reserved, spent

from .billing import USAGE, Answer, Billing, billing
from .callers import STREAMS, quietly
from .calling import aegis, governor

__all__ = ["aegis", "governor"]

PRICE = Decimal("0.15e-6") * USAGE["prompt_tokens"] + Decimal("0.6e-6") * USAGE["completion_tokens"]


ADAPTERS = list(STREAMS)
ASKS = [name for name in ADAPTERS if name != "callback"]
"""Those that ask a stream for its usage, themselves or by what their framework does."""


def read(adapter: str, provider: Billing, aegis: SyncGovernedAgent, **options: Any) -> None:
    quietly(STREAMS[adapter], provider.url, aegis, **options)


@pytest.mark.parametrize("adapter", ASKS)
def test_a_stream_is_asked_for_its_usage_and_charged_exactly(aegis: SyncGovernedAgent, adapter: str) -> None:
    with billing() as provider:
        read(adapter, provider, aegis)
        assert [body["stream_options"]["include_usage"] for body in provider.requests] == [True]
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)


@pytest.mark.parametrize("adapter", ["governed_model", "governed_model_async", "callback", "agentchat"])
def test_running_totals_in_every_chunk_count_once(aegis: SyncGovernedAgent, adapter: str) -> None:
    """Servers repeat them, and their sum is many times the truth."""
    with billing(Answer(counts="running", text="word " * 40)) as provider:
        read(adapter, provider, aegis)
    assert (spent(aegis), reserved(aegis)) == (PRICE, 0)


@pytest.mark.parametrize("adapter", ["governed_model", "governed_model_async", "agentchat"])
def test_a_server_that_knows_no_such_option_is_asked_without_it(aegis: SyncGovernedAgent, adapter: str) -> None:
    """It is remembered of that server. What arrives is charged by its text, and marked."""
    with billing(Answer(counts="refused")) as provider:
        read(adapter, provider, aegis)
        read(adapter, provider, aegis)
        assert ["stream_options" in body for body in provider.requests] == [True, False, False]
    assert 0 < spent(aegis) < Decimal("0.0002")
    assert reserved(aegis) == 0


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_stream_without_usage_is_charged_by_its_text(
    governor: SyncGovernor, aegis: SyncGovernedAgent, adapter: str
) -> None:
    """Input at its bound and output by what arrived, of a model without thoughts: far less than was reserved."""
    with billing(Answer(counts="never")) as provider:
        read(adapter, provider, aegis)
    (settled,) = [event for event in governor.events() if event.kind == "settled"]
    facts = settled.facts
    assert facts["estimated"]
    assert PRICE < Decimal(facts["charged_usd"]) < Decimal(facts["amount_usd"])
    assert reserved(aegis) == 0


@pytest.mark.parametrize(
    ("adapter", "options"),
    [
        ("governed_model", {"stream_usage": False}),
        ("governed_model", {"model_kwargs": {"stream_options": {"include_usage": False}}}),
        ("agentchat", {"stream_options": {"include_usage": False}}),
    ],
)
def test_who_says_no_is_not_asked(aegis: SyncGovernedAgent, adapter: str, options: Any) -> None:
    with billing() as provider:
        read(adapter, provider, aegis, **options)
        said = [(body.get("stream_options") or {}).get("include_usage") for body in provider.requests]
        assert said in ([None], [False])
    assert spent(aegis) > PRICE
