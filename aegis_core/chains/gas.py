"""The price of gas, as several nodes say it: the median of those that are fresh and within a factor of two of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_high

from aegis_core.chains.profiles import ChainProfile
from aegis_core.chains.quantities import JUDGED, mapping, quantity

_AHEAD_SECONDS = 30
"""So far a block's time may lie in the future: clocks differ."""
_FACTOR = 2


@dataclass(frozen=True, slots=True)
class SeenBlock:
    """What one node says of its newest block."""

    number: int
    at: int
    base_fee: int


@dataclass(frozen=True, slots=True)
class GasPrice:
    """The base fee for a unit of gas, in the coin's smallest unit.

    Attributes:
        base_fee: that fee.
        block, at: the newest block that was seen, and its time in seconds since 1970.
        sources: so many nodes stand behind it.
    """

    base_fee: int
    block: int
    at: int
    sources: int


def read_block(answer: object, profile: ChainProfile, now: float) -> SeenBlock:
    """Read the answer to ``eth_getBlockByNumber``.

    Args:
        answer: the node's.
        profile: of its chain.
        now: seconds since 1970.

    Raises:
        ValueError: a field is missing or of the wrong form; the block is too old, or of the future; the fee is nothing,
            or more than can be judged.
    """
    said = mapping(answer, "block")
    block = SeenBlock(
        number=quantity(said.get("number"), "number", most=2**63 - 1),
        at=quantity(said.get("timestamp"), "timestamp", most=2**63 - 1),
        base_fee=quantity(said.get("baseFeePerGas"), "baseFeePerGas", most=JUDGED),
    )
    if block.base_fee == 0:
        raise ValueError("baseFeePerGas is 0, and no gas is free")
    age = now - block.at
    if age > profile.stale_seconds:
        raise ValueError(f"the newest block is {age:.0f} s old, over {profile.stale_seconds:g} s")
    if age < -_AHEAD_SECONDS:
        raise ValueError(f"the newest block is {-age:.0f} s ahead of the time")
    return block


def chosen_price(blocks: Sequence[SeenBlock], quorum: int) -> GasPrice | None:
    """The price for which enough nodes stand; None where too few do. Of an even number of answers the higher counts."""
    if len(blocks) < quorum:
        return None
    middle = median_high(block.base_fee for block in blocks)
    near = [block for block in blocks if middle <= _FACTOR * block.base_fee and block.base_fee <= _FACTOR * middle]
    if len(near) < quorum:
        return None
    price = median_high(block.base_fee for block in near)
    newest = max(near, key=lambda block: block.number)
    return GasPrice(price, newest.number, newest.at, len(near))
