"""Prices of coins as Chainlink keeps them on a chain, believed where enough nodes say the same."""

from __future__ import annotations

from decimal import Decimal

from aegis_core.chains.configuration import PriceFeed
from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.quantities import data
from aegis_core.protocol.errors import ChainError

_LATEST_ROUND, _DECIMALS = "0xfeaf968c", "0x313ce567"
_MOST_DECIMALS = 36
_AHEAD_SECONDS = 30
_GRACE_SECONDS = 3_600
"""So long after a sequencer came back its prices are not believed: nobody could trade meanwhile."""


async def feed_price(network: ChainNetwork, feed: PriceFeed, now: float) -> Decimal:
    """Dollars for a coin.

    Args:
        network: of the chain on which the feed is.
        feed: the feed.
        now: seconds since 1970.

    Raises:
        ChainError: the nodes do not agree; or there is no price, or an old one; or the chain's sequencer is down.
    """
    if feed.sequencer is not None:
        down, since = await _round(network, feed.sequencer)
        if down or now - since < _GRACE_SECONDS:
            raise _unpriced(network, "its sequencer is down, or was until a moment ago")
    decimals = await network.agreed("eth_call", _asked(feed.address, _DECIMALS), "latest", read=_word)
    answer, updated = await _round(network, feed.address, updated=True)
    if decimals > _MOST_DECIMALS or not 0 < answer < 2**255:
        raise _unpriced(network, f"the feed {feed.address} gives no price")
    age = now - updated
    if not -_AHEAD_SECONDS <= age <= feed.heartbeat_seconds:
        raise _unpriced(network, f"the price of the feed {feed.address} is {age:.0f} s old")
    return Decimal(answer).scaleb(-decimals)


async def _round(network: ChainNetwork, address: str, *, updated: bool = False) -> tuple[int, int]:
    """The answer of a feed, and when it was given first, or last `updated`."""
    words = await network.agreed("eth_call", _asked(address, _LATEST_ROUND), "latest", read=_five_words)
    return words[1], words[3 if updated else 2]


def _asked(address: str, selector: str) -> dict[str, str]:
    return {"to": address, "data": selector}


def _five_words(answer: object) -> tuple[int, ...]:
    found = data(answer, "latestRoundData", size=160)
    return tuple(int.from_bytes(found[at : at + 32]) for at in range(0, 160, 32))


def _word(answer: object) -> int:
    return int.from_bytes(data(answer, "eth_call", size=32))


def _unpriced(network: ChainNetwork, problem: str) -> ChainError:
    return ChainError(f"{network.profile.name}: {problem}.", chain=network.profile.id, reason="unpriced")
