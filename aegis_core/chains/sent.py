"""A transaction that was sent, or perhaps was: what has to be known to see what became of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SentTransaction:
    """One that is watched.

    Attributes:
        hash: what the grant was given for: its hash, or on Solana a hash of all that it does.
        address: the wallet.
        nonce: its place among the wallet's, where the chain has such.
        gas, value: the units and the amount of the coin that were signed, where the chain settles by them.
        until: the height after which it cannot happen any more; 0: there is none.
        raw: the signed bytes; empty before they were sent.
    """

    hash: str
    address: str
    nonce: int
    gas: int
    value: int
    until: int = 0
    raw: bytes = b""
