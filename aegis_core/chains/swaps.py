"""What a swap is signed to take and to give at least, read from its data. Only of routers that an operator names.

A simulated price can be moved before the transaction is in a block; what its data demands cannot.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from aegis_core.chains.simulation import COIN_ASSET
from aegis_core.chains.transaction import EvmTransaction

_WORD = 32
_MOST_HOPS = 16


@dataclass(frozen=True, slots=True)
class SignedSwap:
    """So much of `sold` for at least so much of `bought`, in the smallest units. `least` is 0 where somebody else than
    the wallet gets it, or it comes after anybody likes."""

    sold: str
    amount: int
    bought: str
    least: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the arguments of a method stand (words). `sold` None: the coin that goes along."""

    sold: int | None
    least: int
    path: int
    to: int
    for_coin: bool = False


_METHODS = {
    "38ed1739": _Layout(0, 1, 2, 3),  # swapExactTokensForTokens
    "7ff36ab5": _Layout(None, 0, 1, 2),  # swapExactETHForTokens
    "18cbafe5": _Layout(0, 1, 2, 3, for_coin=True),  # swapExactTokensForETH
    "5c11d795": _Layout(0, 1, 2, 3),  # the same three, of tokens that take a fee of transfers
    "b6f9de95": _Layout(None, 0, 1, 2),
    "791ac947": _Layout(0, 1, 2, 3, for_coin=True),
}


def signed_swap(transaction: EvmTransaction, routers: Collection[str]) -> SignedSwap | None:
    """What a transaction is signed to trade; None: it is no swap of a router that is named, or not well formed.

    Args:
        transaction: what is signed.
        routers: contracts that keep what the Uniswap router, version 2, promises; lower case.
    """
    layout = _METHODS.get(transaction.data[:4].hex())
    if layout is None or transaction.to not in routers:
        return None
    body = transaction.data[4:]
    try:
        path = _accounts(body, _number(body, layout.path))
        least, to = _number(body, layout.least), _account(body, layout.to * _WORD)
        amount = transaction.value if layout.sold is None else _number(body, layout.sold)
    except ValueError:
        return None
    return SignedSwap(
        COIN_ASSET if layout.sold is None else path[0], amount, COIN_ASSET if layout.for_coin else path[-1],
        least if to == transaction.sender else 0,
    )  # fmt: skip


def _number(body: bytes, place: int) -> int:
    return _word(body, place * _WORD)


def _word(body: bytes, at: int) -> int:
    found = body[at : at + _WORD]
    if len(found) != _WORD:
        raise ValueError("ends before its arguments do")
    return int.from_bytes(found)


def _account(body: bytes, at: int) -> str:
    found = _word(body, at)
    if found >> 160:
        raise ValueError("is no address")
    return f"0x{found:040x}"


def _accounts(body: bytes, at: int) -> list[str]:
    count = _word(body, at)
    if not 2 <= count <= _MOST_HOPS:
        raise ValueError("has a path of another length than 2 to 16")
    return [_account(body, at + _WORD * place) for place in range(1, count + 1)]
