"""The chains of one operator: each with its nodes, its price of gas, and the price of its coin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from aegis_core.chains.configuration import ChainSetup, PricedToken, PriceFeed, read_chains
from aegis_core.chains.cost import NativeCost, bound, paid_by
from aegis_core.chains.data_fees import extra_fees
from aegis_core.chains.feeds import feed_price
from aegis_core.chains.gas import GasPrice
from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.price_pages import PricePage, PricePages
from aegis_core.chains.profiles import ChainProfile, find_profile, unknown_chain
from aegis_core.chains.quantities import address
from aegis_core.chains.sent import SentTransaction
from aegis_core.chains.simulation import Simulation, simulate
from aegis_core.chains.transaction import EvmTransaction
from aegis_core.protocol.errors import ChainError


@dataclass(frozen=True, slots=True)
class ChainState:
    """A chain at a moment. What is not known is None, and `problems` say why.

    Attributes:
        gas: the price of gas.
        usd: dollars for a coin.
        problems: sentences.
    """

    gas: GasPrice | None
    usd: Decimal | None
    problems: tuple[str, ...] = ()


class Chain:
    """One chain that an operator set up."""

    def __init__(self, setup: ChainSetup, book: Chains) -> None:
        self.profile, self.setup, self._book = setup.profile, setup, book
        self.network = self._open()

    def _open(self) -> ChainNetwork:
        return ChainNetwork(self.profile, self.setup.rpc, quorum=self.setup.quorum, timeout=self.setup.timeout)

    def account(self, text: str) -> str:
        """An account of this chain, in the form in which it is compared. Raises `InvalidRequestError`."""
        return address(text, "wallet")

    def name_of(self, sent: SentTransaction) -> str:
        """How nodes name a transaction."""
        return sent.hash

    async def ended(self, sent: SentTransaction) -> NativeCost | None:
        """What a transaction took, once that is final; nothing where it can never happen; None: it still may.

        Raises:
            ChainError: the nodes do not agree.
        """
        if await self.network.nonce(sent.address, self.profile.finality) <= sent.nonce:
            return None
        # Whatever has this nonce cannot be undone any more: it is this one, or it never happens.
        mined = await self.network.receipt(sent.hash)
        if mined is None:
            return NativeCost(0, 0)
        try:
            return paid_by(sent.gas, sent.value, self.profile, mined)
        except ValueError as error:
            raise ChainError(f"{self.profile.name}: {error}.", chain=self.profile.id, reason="unknown") from None

    async def usd(self, now: float) -> Decimal:
        """Dollars for a coin. `now`: seconds since 1970.

        Raises:
            ChainError: nobody says it, or nobody who can be believed.
        """
        setup = self.setup
        found = await self._priced(setup.usd, setup.feed, setup.page, now)
        if found is None:
            raise ChainError(
                f"{self.profile.name}: nothing says what {self.profile.symbol} costs; give usd, feed or http in the "
                "file of chains.",
                chain=self.profile.id, reason="unpriced",
            )  # fmt: skip
        return found

    async def _priced(
        self, usd: Decimal | None, feed: PriceFeed | None, page: PricePage | None, now: float
    ) -> Decimal | None:
        """What one of the three sources says; None: there is none."""
        if usd is not None:
            return usd
        if page is not None:
            return await self._book.pages.usd(page, self.profile.id, now)
        if feed is not None:
            return await feed_price(self._book.find(feed.chain).network if feed.chain else self.network, feed, now)
        return None

    async def look(self, now: float) -> ChainState:
        """What its nodes say now. `now`: seconds since 1970."""
        gas, usd = await asyncio.gather(self.network.gas_price(now), self.usd(now), return_exceptions=True)
        for each in (gas, usd):
            if isinstance(each, BaseException) and not isinstance(each, ChainError):
                raise each
        problems = tuple(each.message for each in (gas, usd) if isinstance(each, ChainError))
        return ChainState(
            None if isinstance(gas, BaseException) else gas, None if isinstance(usd, BaseException) else usd, problems
        )

    async def price_of(self, token: PricedToken, now: float) -> Decimal:
        """Dollars for a token. Raises as `usd` does."""
        found = await self._priced(token.usd, token.feed, token.page, now)
        assert found is not None, "its settings say where its price comes from"
        return found

    async def simulate(self, transaction: EvmTransaction) -> Simulation:
        """What a transaction would do now. Raises as `simulation.simulate`."""
        return await simulate(self.network, transaction, [token.address for token in self.setup.tokens])

    async def bound(self, transaction: EvmTransaction) -> NativeCost:
        """The most that a signed transaction can take from its sender. Raises as `cost.bound`, and `ChainError`."""
        return bound(transaction, self.profile, await extra_fees(self.network, transaction))


class Chains:
    """The chains of one operator."""

    def __init__(self, setups: Mapping[str, ChainSetup]) -> None:
        from aegis_core.chains.families import open_chain

        self._chains = {setup.profile.id: open_chain(setup, self) for setup in setups.values()}
        self._ids = {name: setup.profile.id for name, setup in setups.items()}
        self.pages = PricePages()
        self._ids |= {each.lower(): each for each in self._chains}

    def __iter__(self) -> Iterator[Chain]:
        return iter(self._chains.values())

    def __len__(self) -> int:
        return len(self._chains)

    def find(self, chain: str) -> Chain:
        """A chain by its name, or by CAIP-2.

        Raises:
            InvalidRequestError: the operator did not set it up.
        """
        name = chain.lower()
        profile = find_profile(name)
        found = self._chains.get(self._ids.get(name) or (profile.id if profile else name))
        if found is None:
            raise unknown_chain(chain, tuple(name for name in self._ids if ":" not in name))
        return found

    def profile_of(self, chain: str) -> ChainProfile:
        """What is known of a chain. Raises as `find`."""
        return self.find(chain).profile

    async def aclose(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(chain.network.aclose() for chain in self), self.pages.aclose())


@asynccontextmanager
async def opened_chains(path: Path | None) -> AsyncGenerator[Chains]:
    """The chains of an operator's file, for a block; none without one.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    chains = Chains(read_chains(path) if path else {})
    try:
        yield chains
    finally:
        await chains.aclose()
