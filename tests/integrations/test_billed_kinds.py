"""Kinds of tokens that a provider bills at other prices, through every adapter that hears of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from aegis_core.client.sync import SyncGovernedAgent
from aegis_core.testing.contract.base import reserved, spent

from .billing import USAGE, Answer, billing
from .callers import STREAMS, WHOLE, quietly
from .calling import aegis, governor

__all__ = ["aegis", "governor"]

FRESH, CACHED, MADE = Decimal("0.15e-6"), Decimal("0.075e-6"), Decimal("0.6e-6")
SENT, SAID = USAGE["prompt_tokens"], USAGE["completion_tokens"]
KINDS: dict[str, tuple[dict[str, Any], Decimal]] = {
    "cached": ({"prompt_tokens_details": {"cached_tokens": 64}}, (SENT - 64) * FRESH + 64 * CACHED + SAID * MADE),
    "reasoning": ({"completion_tokens_details": {"reasoning_tokens": 4}}, SENT * FRESH + SAID * MADE),
}
"""What is added to the usage, and what the call then costs."""

DEAF = {("agentchat", False), ("agentchat", True), ("classic", True)}
"""Here AutoGen passes no more on than two counts, of an answer or of a stream; what was cached is charged in full."""


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("adapter", WHOLE)
def test_each_kind_is_charged_at_its_price(aegis: SyncGovernedAgent, adapter: str, kind: str, streamed: bool) -> None:
    more, price = KINDS[kind]
    if (adapter, streamed) in DEAF:
        price = SENT * FRESH + SAID * MADE
    with billing(Answer(usage=USAGE | more)) as provider:
        if not streamed:
            quietly(WHOLE[adapter], provider.url, aegis, 0)
        elif adapter == "callback":  # it cannot ask for the usage itself
            quietly(STREAMS[adapter], provider.url, aegis, stream_usage=True)
        else:
            quietly(STREAMS[adapter], provider.url, aegis)
    assert (spent(aegis), reserved(aegis)) == (price, 0)


@pytest.mark.parametrize("adapter", ["governed_model", "callback", "classic"])
def test_thoughts_that_only_the_total_knows_are_charged(aegis: SyncGovernedAgent, adapter: str) -> None:
    with billing(Answer(usage=USAGE | {"total_tokens": SENT + SAID + 25})) as provider:
        quietly(WHOLE[adapter], provider.url, aegis, 0)
    assert (spent(aegis), reserved(aegis)) == (SENT * FRESH + (SAID + 25) * MADE, 0)
