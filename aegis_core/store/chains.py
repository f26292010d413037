"""What Redis holds of chains: the price of gas, and the transactions that are watched. Typed calls, as in `ledger`."""

from __future__ import annotations

import secrets
from typing import Any, Literal

from aegis_core.store import layout, operator_verbs, verbs
from aegis_core.store.chain_records import SeenGas, Watch
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import decode, unpack, unpack_raw
from aegis_core.store.records import Record

DUTY = "~chains"
"""The lease of who watches chains is kept like a channel's; no channel has such a name."""
_KEEP_MS = 3_600_000


class ChainStore:
    """Chains of one tenant, as one process sees them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._scripts, self._holder = ledger, ledger.store.scripts, secrets.token_hex(8)

    async def hold(self, seconds: float) -> tuple[bool, int]:
        """Take or keep the lease of watching. Answers whether it is held, and the server's time in ms."""
        order = operator_verbs.HoldChannel(DUTY, self._holder, int(seconds * 1000))
        answer = await self._ledger.call(self._scripts.hold_channel, order)
        return bool(answer[1]), int(answer[2])

    async def put_gas(
        self, chain: str, *, price: int, block: int, block_at: int, sources: int, usd: str | Literal[False]
    ) -> bool:
        """Write the price of gas; false where the lease is somebody else's by now."""
        order = operator_verbs.PutGas(DUTY, self._holder, chain, price, block, block_at, sources, usd, _KEEP_MS)
        return bool((await self._ledger.call(self._scripts.put_gas, order))[1])

    async def gas(self, chain: str) -> SeenGas | None:
        """What was written last; None: nothing within an hour."""
        blob = await self._ledger.store.command("GET", self._key("g:" + chain))
        return decode(SeenGas, unpack(blob)) if blob else None

    async def follow(self, order: verbs.Follow) -> tuple[Record, Watch]:
        """Say how a transaction stands, as ``follow.lua`` has it. Answers what is stored of it then.

        Raises:
            NotFoundError: there is no such grant, or none for a transaction.
            ConflictError: its money is not held any more, the wallet's lock was lost, or its nonce was used.
        """
        answer = await self._ledger.call(self._scripts.follow, order)
        return decode(Record, unpack(answer[1])), _watch(answer[2])

    async def watch(self, key: str) -> Watch | None:
        """What is watched for a grant; None: nothing any more."""
        blob = await self._ledger.store.command("GET", self._key("gt:" + key))
        return _watch(blob) if blob else None

    async def forget(self, key: str) -> None:
        """Nothing is stored of it any more, so there is nothing to look at."""
        await self._ledger.store.command("ZREM", self._key("gd"), key)

    async def due(self, most: int, now: int) -> list[str]:
        """The grants whose transactions are to be looked at, the longest overdue first."""
        found: Any = await self._ledger.store.command("ZRANGEBYSCORE", self._key("gd"), "-inf", now, "LIMIT", 0, most)
        return [key.decode() for key in found]

    def _key(self, name: str) -> str:
        return layout.key(self._ledger.tenant, name)


def _watch(blob: bytes) -> Watch:
    """A stored one; its signed bytes are no text."""
    values = unpack_raw(blob)
    return decode(Watch, [_text(value) if at != _RAW else value for at, value in enumerate(values)])


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


_RAW = Watch._fields.index("raw")
