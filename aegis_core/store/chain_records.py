"""What is stored of chains, by name. Part of what `schema` declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from aegis_core.store.kinds import Kind
from aegis_core.store.records import Text

CHAINS: Mapping[str, Any] = {
    "GAS_AGAIN": 2_000,  # ms after which it is worth while to ask again
    "WATCHES": 10_000,  # transactions of a tenant that are watched at a time
    "WATCHED": 400 * 86_400_000,  # ms for which a grant that ended is kept while its transaction is watched
    "NEXT_NONCE": 7 * 86_400_000,  # ms for which the next nonce of a wallet is kept; then its nodes alone say it
}
"""What scripts may name besides, as in `schema.CONSTANTS`."""


class SeenGas(NamedTuple):
    """The price of gas on a chain, as the one process that watches it wrote it at `at` (the server's time, ms).

    `price` is wei for a unit, below 2^53. `block` and `block_at` (seconds) are the newest that was seen, `sources` how
    many nodes stand behind it. `usd`: dollars for a coin, as text; False where nobody who can be believed says it.
    """

    price: int
    at: int
    block: int
    block_at: int
    sources: int
    usd: Text


class Watch(NamedTuple):
    """A transaction that a grant is for, by the id of the grant, until its nonce is final.

    Amounts of the coin are texts, because numbers of scripts are exact to 2^53 only. `usd`: dollars for a coin when it
    was reserved, and so when it is settled. `state`: ``held`` before anything was sent, ``sending`` from just before
    the first node is asked, ``sent`` once one accepted it. `raw`: its signed bytes, from then on. `at`: since when it
    stands so. `least`: nano-dollars that come at least, if it succeeds. `last_height`: of its chain, after which it
    cannot happen any more; 0: it has none, or a nonce.
    """

    chain: str
    wallet: str
    nonce: int
    hash: str
    gas: str
    value: str
    usd: str
    state: str
    at: int
    raw: bytes | Literal[False] = False
    least: int = 0
    last_height: int = 0


STORED = (Kind("GAS", SeenGas), Kind("WATCH", Watch))
"""Those that `schema` lists."""
