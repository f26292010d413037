"""Watches chains for a tenant: writes what gas costs, and follows what was sent until it is final. One process does it.

Nothing of it is on the way of a decision. When the process goes, another takes over within the lease; what it writes
meanwhile is refused. To follow one transaction twice does no harm.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from aegis_core.chains.book import Chain
from aegis_core.governor.watching import watching
from aegis_core.protocol.errors import ChainError, InvalidRequestError

if TYPE_CHECKING:
    from aegis_core.governor.transactions import Transactions

LOOK_SECONDS = 1.0
LEASE_SECONDS = 10.0
_USD_SECONDS = 30.0
"""How often the price of a coin is read."""
_AT_ONCE = 50

_log = logging.getLogger("aegis.chains")


class ChainWatch:
    """The prices of gas of all chains of an operator, and the transactions of one tenant."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions, self._store = transactions, transactions.store
        self._usd: dict[str, tuple[float, Decimal]] = {}
        self._said: dict[str, str] = {}
        self._mine = False

    async def look(self) -> bool:
        """Write the prices, and look at what is due; answers whether it is this process that does.

        Raises:
            StoreError: Redis could not be asked.
        """
        self._mine, now = await self._store.hold(LEASE_SECONDS)
        if not self._mine:
            self._usd.clear()
            return False
        await asyncio.gather(*(self._price(chain, now / 1000) for chain in self._transactions.chains))
        for key in await self._store.due(_AT_ONCE, now):
            try:
                await self._transactions.follow(key)
                self._tell(key, "")
            except (ChainError, InvalidRequestError) as error:  # nodes that do not agree, or a chain not set up here
                self._tell(key, error.message)
                await self._transactions.put_off(key)
        return True

    async def leave(self) -> None:
        """Let another process go on at once."""
        if self._mine:
            await self._store.hold(0)

    async def _price(self, chain: Chain, now: float) -> None:
        try:
            gas = await chain.network.gas_price(now)
        except ChainError as error:
            self._tell(chain.profile.id, f"{error.message} Until that is over, nothing is sent there")
            return
        usd = await self._coin(chain, now)
        written = await self._store.put_gas(
            chain.profile.id, price=gas.base_fee, block=gas.block, block_at=gas.at, sources=gas.sources,
            usd=False if usd is None else f"{usd:f}",
        )  # fmt: skip
        if written and usd is not None:
            self._tell(chain.profile.id, "")

    async def _coin(self, chain: Chain, now: float) -> Decimal | None:
        read, usd = self._usd.get(chain.profile.id, (0.0, None))
        if usd is not None and time.monotonic() - read < _USD_SECONDS:
            return usd
        try:
            usd = await chain.usd(now)
        except ChainError as error:
            self._usd.pop(chain.profile.id, None)
            self._tell(chain.profile.id, error.message)
            return None
        self._usd[chain.profile.id] = time.monotonic(), usd
        return usd

    def _tell(self, about: str, problem: str) -> None:
        """Log what is wrong once, as long as it stays the same."""
        if problem and self._said.get(about) != problem:
            _log.warning("%s", problem)
        if problem:
            self._said[about] = problem
        else:
            self._said.pop(about, None)


@asynccontextmanager
async def watched_chains(transactions: Transactions) -> AsyncGenerator[None]:
    """Watch the chains that are set up while the block runs, unless another process does."""
    if not len(transactions.chains):
        yield
        return
    watch = ChainWatch(transactions)
    failed = partial(_log.warning, "%s; chains are not watched until that is over")
    async with watching(watch.look, LOOK_SECONDS, failed, at_once=True, leave=watch.leave):
        yield
