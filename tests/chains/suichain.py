"""A Sui of this machine: GraphQL by either of its schemas, over what a test says that transactions do."""

from __future__ import annotations

import asyncio
import json
import subprocess
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from fetching import SUI
from graphql import GraphQLSchema, build_schema, graphql_sync

from aegis_core.chains.sui.wire import SuiTransaction, decode, signed

CHAIN = "0badc0de"
COIN = "0x2::sui::SUI"
MIST = 10**9
SCHEMAS = {1: "sui-1/src/graphql/generated/latest/schema.graphql", 2: "sui-2/src/graphql/generated/schema.graphql"}


@cache
def schema(version: int) -> GraphQLSchema:
    return build_schema((SUI.path() / "node_modules" / SCHEMAS[version]).read_text())


@cache
def vectors() -> dict[str, Any]:
    """What the SDK of Sui made, by name; `me` is who signed it."""
    script = Path(__file__).with_name("sui_vectors.mjs")
    done = subprocess.run(["node", str(script), str(SUI.path())], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def vector(name: str) -> bytes:
    found = vectors()[name]
    return signed(b64decode(found["data"]), (b64decode(found["signature"]),))


@dataclass
class Effects:
    """What a transaction does: gas (computation, storage, rebate), and changes of balances beside it."""

    gas: tuple[int, int, int] = (1_000_000, 2_000_000, 978_120)
    changes: tuple[tuple[str, str, int], ...] = ()
    objects: tuple[tuple[str, str | None, str], ...] = ()
    success: bool = True
    more: bool = False

    @property
    def net(self) -> int:
        return self.gas[0] + self.gas[1] - self.gas[2]


@dataclass
class SuiServer:
    """The chain, and what a test does to it. `does`: what transactions do, by digest; others pay from their coin."""

    version: int = 2
    price: int = 1_000
    epoch: int = 7
    checkpoint: int = 500
    placed: bool = True
    drops: bool = False
    sent: int = 0
    does: dict[str, Effects] = field(default_factory=dict[str, Effects])
    landed: dict[str, tuple[SuiTransaction, int]] = field(default_factory=dict[str, tuple[SuiTransaction, int]])
    used: dict[str, int] = field(default_factory=dict[str, int])
    queries: list[str] = field(default_factory=list[str])

    def effects(self, transaction: SuiTransaction, place: int | None) -> dict[str, Any]:
        done = self.does.get(transaction.digest, Effects())
        out = transaction.from_gas or 0
        changes = {(transaction.owner, COIN): -done.net - out}
        for owner, coin, amount in done.changes:
            changes[owner, coin] = changes.get((owner, coin), 0) + amount
        gas = dict(zip(("computationCost", "storageCost", "storageRebate"), done.gas, strict=True))
        objects = [
            {"inputState": _state(before, of), "outputState": after and _state(after, of)}
            for before, after, of in done.objects
        ]
        failed = {"message": "it aborts", "abortCode": "5", "identifier": "E"}
        return {
            "digest": transaction.digest, "status": "SUCCESS" if done.success else "FAILURE",
            "executionError": None if done.success else failed,
            "checkpoint": place and {"sequenceNumber": place},
            "gasEffects": {"gasSummary": gas | {"nonRefundableStorageFee": 9}},
            "balanceChanges": {
                "nodes": [{"owner": {"address": owner}, "coinType": {"repr": coin}, "amount": str(amount)}
                          for (owner, coin), amount in changes.items()],
                "pageInfo": {"hasNextPage": done.more, "hasPreviousPage": False},
            },
            "objectChanges": {"nodes": objects, "pageInfo": {"hasNextPage": False, "hasPreviousPage": False}},
            "transaction": {
                "digest": transaction.digest, "effects": lambda _info: self.effects(transaction, place),
                "signatures": [{"signatureBytes": b64encode(each).decode()} for each in transaction.signatures],
            },
        }  # fmt: skip

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.queries.append(asked["query"])

        def transaction(_info: Any, digest: str) -> Any:
            if digest not in self.landed:
                return None
            found, place = self.landed[digest]
            return {"digest": digest, "effects": self.effects(found, place if self.placed else None)}

        def simulate(_info: Any, transaction: Any, **_more: Any) -> Any:
            data = b64decode(transaction["bcs"]["value"])
            return {"effects": self.effects(decode(signed(data)), None)}

        def execute(_info: Any, transactionDataBcs: str, signatures: list[str]) -> Any:  # noqa: N803 - its own name
            found = decode(signed(b64decode(transactionDataBcs), tuple(map(b64decode, signatures))))
            if found.digest not in self.landed and not self.drops:
                if any(self.used.get(name, 0) > version for name, version in found.gas_coins.items()):
                    raise ValueError("the coin that pays for gas is used up")
                self.sent += 1
                self.checkpoint += 1
                self.landed[found.digest] = (found, self.checkpoint)
                self.used |= {name: version + 1 for name, version in found.gas_coins.items()}
            return {"effects": self.effects(found, None)}

        now = datetime.now(UTC).isoformat()
        root = {
            "chainIdentifier": CHAIN, "epoch": {"epochId": self.epoch, "referenceGasPrice": str(self.price)},
            "checkpoint": {"sequenceNumber": self.checkpoint, "timestamp": now}, "transaction": transaction,
            "simulateTransaction": simulate, "executeTransaction": execute,
            "object": lambda _info, address: {"version": self.used.get(address, 1)},
        }  # fmt: skip
        done = graphql_sync(
            schema(self.version), asked["query"], root, variable_values=asked.get("variables"),
            operation_name=asked.get("operationName"),
        )  # fmt: skip
        found: dict[str, Any] = {"data": done.data}
        if done.errors:
            found["errors"] = [{"message": each.message} for each in done.errors]
        return found


def _state(owner: str, of: str) -> dict[str, Any]:
    return {
        "owner": {"__typename": "AddressOwner", "address": {"address": owner}},
        "asMoveObject": {"contents": {"type": {"repr": of}}},
    }


@asynccontextmanager
async def serving(*chains: SuiServer) -> AsyncIterator[list[str]]:
    """A node for each chain given, by their URLs."""
    servers = [await asyncio.start_server(_talker(chain), "127.0.0.1", 0) for chain in chains]
    try:
        yield [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/key-of-the-operator" for server in servers]
    finally:
        for server in servers:
            server.close()


def _talker(chain: SuiServer) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                (length,) = (
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                body = json.dumps(chain.answer(json.loads(await reader.readexactly(length)))).encode()
                headers = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
                writer.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    return talk
