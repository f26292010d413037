"""The nodes of Sui, believed only where enough of them agree. They are asked by GraphQL."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from aegis_core.chains.gas import GasPrice, SeenBlock, chosen_price
from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.node import Node, NodeFault, NodeRefusal, texts
from aegis_core.chains.quantities import JUDGED, mapping
from aegis_core.chains.simulation import Simulation
from aegis_core.chains.sui import queries
from aegis_core.chains.sui.answers import (
    SuiEffects,
    read_chain,
    read_head,
    read_landed,
    read_simulation,
    read_version,
)
from aegis_core.chains.sui.wire import SuiTransaction, decode
from aegis_core.chains.worst import worst_of
from aegis_core.protocol.errors import ChainError
from aegis_core.protocol.parsing import loads

_AHEAD_SECONDS = 30
_MOST_TEXT = 200


class SuiNode(Node):
    """One endpoint. A method is the text of a query, its only parameter the variables."""

    def __init__(self, url: str, place: int, client: Any, timeout: float, chain: str) -> None:
        super().__init__(url, place, 0, client, timeout)
        self._named = chain

    async def _served(self) -> None:
        try:
            found = read_chain(await self._asked(queries.CHAIN, ()))
        except ValueError as error:
            raise NodeFault(f"{self.name}: {error}") from None
        if found != self._named:
            raise NodeFault(f"{self.name} serves another chain than sui:{self._named}")

    async def _asked(self, method: str, parameters: tuple[object, ...]) -> Any:
        said = await self.passed({"query": method, "variables": parameters[0] if parameters else {}})
        errors = said.get("errors")
        if errors:
            first = cast("list[Any]", errors)[0] if isinstance(errors, list) else errors
            message = str(cast("dict[str, Any]", first).get("message") if isinstance(first, dict) else first)
            text = "".join(letter if letter.isprintable() else " " for letter in message[:_MOST_TEXT])
            raise NodeRefusal(f"{self.name} refuses: {text}", 0, None)
        return said.get("data")

    async def passed(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The whole answer to a request.

        Raises:
            NodeFault: there is none, or none that is one.
        """
        content = await self._posted(json.dumps(asked).encode())
        try:
            return mapping(loads(content), "the answer")
        except ValueError:
            raise NodeFault(f"{self.name} did not answer with a JSON object") from None


class SuiNetwork(ChainNetwork):
    """The nodes that an operator names for Sui."""

    def node(self, url: str, place: int, timeout: float) -> Node:
        """One of its nodes."""
        return SuiNode(url, place, self._client, timeout, self.profile.reference)

    def submission(self, raw: bytes) -> tuple[str, *tuple[object, ...]]:
        """The call that hands signed bytes to a node."""
        return queries.EXECUTE, queries.executed(decode(raw))

    async def gas_price(self, now: float) -> GasPrice:
        """The reference price of the epoch, in MIST. Raises `ChainError` as `ChainNetwork.gas_price`."""
        heads, faults = await self.answers(queries.GAS, read=read_head)
        fresh = [head for head in heads if -_AHEAD_SECONDS <= now - head.at <= self.profile.stale_seconds]
        faults += [NodeFault("a node's newest checkpoint is too old, or of the future")] * (len(heads) - len(fresh))
        seen = [SeenBlock(head.checkpoint, head.at, head.price) for head in fresh if head.price <= JUDGED]
        price = chosen_price(seen, self.quorum)
        if price is None:
            raise self._disagreement("the price of gas", len({each.base_fee for each in seen}), faults)
        return price

    async def simulate(self, transaction: SuiTransaction, wallet: str) -> Simulation:
        """Run a transaction on as many nodes as must agree, and take the worst of what they say.

        Raises:
            ChainError: too few can run it.
        """
        found, faults = await self.answers(
            queries.SIMULATE, queries.simulated(transaction),
            read=lambda answer: read_simulation(answer, transaction, wallet),
        )  # fmt: skip
        if len(found) < self.quorum:
            raise ChainError(
                f"{self.profile.name}: a simulation needs an answer of {self.quorum} of {len(self.nodes)} nodes: "
                f"{texts(faults)}.",
                chain=self.profile.id, reason="unknown",
            )  # fmt: skip
        return worst_of(found)

    async def landed(self, digest: str) -> SuiEffects | None:
        """What became of a transaction; None where enough nodes know of nothing."""
        return await self.agreed(
            queries.TRANSACTION, {"digest": digest}, read=lambda answer: read_landed(answer, digest)
        )

    async def versions(self, objects: tuple[str, ...]) -> tuple[int | None, ...]:
        """The versions of objects, as enough nodes say them; None: they know of none."""
        asked = [self.agreed(queries.OBJECT, {"address": each}, read=read_version) for each in objects]
        return tuple(await asyncio.gather(*asked))

    async def epoch(self) -> int:
        """The number of the present epoch, which enough nodes have reached."""
        return await self.reached(queries.GAS, read=_epoch)

    async def knows(self, transaction: str) -> bool:
        """Whether any node has heard of a transaction, by its digest."""
        found, _ = await self.answers(
            queries.TRANSACTION,
            {"digest": transaction},
            read=lambda answer: read_landed(answer, transaction) is not None,
        )
        return any(found)


def _epoch(answer: object) -> int:
    found = mapping(mapping(answer, "data").get("epoch"), "epoch").get("epochId")
    if type(found) is not int or not 0 <= found < 2**53:
        raise ValueError("epochId is no number")
    return found
