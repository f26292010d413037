"""The nodes of one chain, believed only where enough of them agree."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from aegis_core.chains.gas import GasPrice, chosen_price, read_block
from aegis_core.chains.node import Node, NodeFault, NodeRefusal, called, new_client, texts
from aegis_core.chains.profiles import ChainProfile
from aegis_core.chains.quantities import mapping, quantity
from aegis_core.chains.receipts import MinedTransaction, read_receipt
from aegis_core.protocol.errors import ChainError

_T = TypeVar("_T")
_H = TypeVar("_H", bound=Hashable)

_UINT64 = 2**64 - 1


class ChainNetwork:
    """The nodes that an operator names for a chain.

    Attributes:
        profile: of the chain.
        quorum: how many nodes must say the same; by default more than half of them.
    """

    def __init__(
        self, profile: ChainProfile, urls: Sequence[str], *, quorum: int | None = None, timeout: float = 5
    ) -> None:
        self.profile, self.quorum = profile, quorum or len(urls) // 2 + 1
        self._client = new_client()
        self.nodes = [self.node(url, place, timeout) for place, url in enumerate(urls, start=1)]
        self._newest = 0
        self._sending: set[asyncio.Future[Any]] = set()

    def node(self, url: str, place: int, timeout: float) -> Node:
        """One of its nodes."""
        return Node(url, place, self.profile.number, self._client, timeout)

    async def agreed(self, method: str, *parameters: object, read: Callable[[Any], _H]) -> _H:
        """What enough nodes say. As soon as they do, the others are not waited for.

        Args:
            method: of JSON-RPC.
            parameters: its parameters.
            read: makes a value of an answer, or raises `ValueError`.

        Raises:
            ChainError: not enough of them say the same.
        """
        found: Counter[_H] = Counter()
        faults: list[NodeFault] = []
        asking = [asyncio.ensure_future(_read(node, method, parameters, read)) for node in self.nodes]
        try:
            for answer in asyncio.as_completed(asking):
                try:
                    value = await answer
                except NodeFault as fault:
                    faults.append(fault)
                    continue
                found[value] += 1
                if found[value] >= self.quorum:
                    return value
        finally:
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        raise self._disagreement(method, len(found), faults)

    async def answers(
        self, method: str, *parameters: object, read: Callable[[Any], _T]
    ) -> tuple[list[_T], list[NodeFault]]:
        """What each node says, and what was wrong with the others."""
        asked = (_read(node, method, parameters, read) for node in self.nodes)
        said = await asyncio.gather(*asked, return_exceptions=True)
        faults = [each for each in said if isinstance(each, NodeFault)]
        for each in said:
            if isinstance(each, BaseException) and not isinstance(each, NodeFault):
                raise each
        return [each for each in said if not isinstance(each, BaseException)], faults

    async def gas_price(self, now: float) -> GasPrice:
        """The base fee of the newest block.

        Args:
            now: seconds since 1970, by the clock that everything is decided by.

        Raises:
            ChainError: too few nodes answer, or their answers differ by more than a factor of two.
        """
        blocks, faults = await self.answers(
            "eth_getBlockByNumber", "latest", False, read=lambda answer: read_block(answer, self.profile, now)
        )
        fresh = [block for block in blocks if block.number + self._slack >= self._newest]
        faults += [NodeFault("a node is far behind what it or others said before")] * (len(blocks) - len(fresh))
        price = chosen_price(fresh, self.quorum)
        if price is None:
            raise self._disagreement("eth_getBlockByNumber", len({block.base_fee for block in fresh}), faults)
        self._newest = max(self._newest, price.block)
        return price

    @property
    def _slack(self) -> int:
        """So many blocks a node may be behind the newest one."""
        return int(self.profile.stale_seconds / self.profile.block_seconds) + 1

    async def height(self, tag: str) -> int:
        """The number of the newest block of a tag that enough nodes have reached."""
        return await self.reached("eth_getBlockByNumber", tag, False, read=_number_of)

    async def reached(self, method: str, *parameters: object, read: Callable[[Any], int]) -> int:
        """The highest number that enough nodes say, or one above it. Raises as `agreed`."""
        found, faults = await self.answers(method, *parameters, read=read)
        if len(found) < self.quorum:
            raise self._disagreement(method, len(set(found)), faults)
        return sorted(found, reverse=True)[self.quorum - 1]

    async def receipt(self, transaction: str) -> MinedTransaction | None:
        """What became of a transaction; None where enough nodes know of nothing."""
        return await self.agreed(
            "eth_getTransactionReceipt", transaction, read=lambda answer: read_receipt(answer, transaction)
        )

    async def nonce(self, address: str, tag: str) -> int:
        """How many transactions of an account enough nodes count, up to the newest block of a tag or with ``pending``
        ones."""
        return await self.reached("eth_getTransactionCount", address, tag, read=_nonce_of)

    async def knows(self, transaction: str) -> bool:
        """Whether any node has heard of a transaction."""
        found, _ = await self.answers("eth_getTransactionByHash", transaction, read=lambda answer: answer is not None)
        return any(found)

    def submission(self, raw: bytes) -> tuple[str, *tuple[object, ...]]:
        """The call that hands signed bytes to a node."""
        return "eth_sendRawTransaction", "0x" + raw.hex()

    async def broadcast(self, raw: bytes, transaction: str) -> None:
        """Hand signed bytes to every node; done as soon as one accepts them, or knows them already.

        Raises:
            ChainError: every node refuses it (reason ``refused``), or nobody can say whether one took it (``unknown``).
        """
        asking = [asyncio.ensure_future(node.call(*self.submission(raw))) for node in self.nodes]
        self._sending.update(asking)
        for each in asking:  # when one has accepted, the others hear of it without anybody waiting for them
            each.add_done_callback(self._sent)
        faults: list[NodeFault] = []
        for answer in asyncio.as_completed(asking):
            try:
                await answer
            except NodeFault as fault:
                faults.append(fault)
            else:
                return
        if await self.knows(transaction):
            return
        refused = all(isinstance(fault, NodeRefusal) for fault in faults)
        what = f"{self.profile.name} refuses" if refused else f"Whether {self.profile.name} took it is not known of"
        raise ChainError(
            f"{what} the transaction {transaction}: {texts(faults)}.",
            chain=self.profile.id,
            reason="refused" if refused else "unknown",
        )

    def _sent(self, done: asyncio.Future[Any]) -> None:
        self._sending.discard(done)
        if not done.cancelled():
            done.exception()

    def _disagreement(self, method: str, kinds: int, faults: list[NodeFault]) -> ChainError:
        differ = f"the others give {kinds} different answers" if kinds > 1 else ""
        said = "; ".join(filter(None, (texts(faults) if faults else "", differ))) or "too few nodes answered"
        needs = f"{called(method)} needs the same answer of {self.quorum} of {len(self.nodes)} nodes"
        return ChainError(
            f"{self.profile.name}: {needs}: {said}.",
            chain=self.profile.id,
            reason="refused" if faults and all(isinstance(each, NodeRefusal) for each in faults) else "unknown",
        )

    async def aclose(self) -> None:
        """Close the connections; what is on its way to other nodes is given up."""
        for each in list(self._sending):
            each.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._client.aclose()


async def _read(node: Node, method: str, parameters: tuple[object, ...], read: Callable[[Any], _T]) -> _T:
    answer = await node.call(method, *parameters)
    try:
        return read(answer)
    except ValueError as error:
        raise NodeFault(f"{node.name}: {error}") from None


def _number_of(answer: object) -> int:
    return quantity(mapping(answer, "block").get("number"), "number", most=_UINT64)


def _nonce_of(answer: object) -> int:
    return quantity(answer, "eth_getTransactionCount", most=_UINT64)
