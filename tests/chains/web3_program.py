"""A program of web3.py, run where that is installed. Prints what came of each thing that it sent, as JSON.

Usage: python web3_program.py '{"rpc": …, "key": …, "mode": "plain" or "async", "api": …, "token": …}'. With `api` its
governed layer asks there; without it the RPC URL is the proxy's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

from eth_account import Account
from web3 import AsyncHTTPProvider, AsyncWeb3, HTTPProvider, Web3
from web3.exceptions import Web3RPCError
from web3.middleware import SignAndSendRawMiddlewareBuilder

import aegis_core


def wishes(account: Any) -> list[dict[str, Any]]:
    """A payment, one that is refused, another payment, and a contract."""
    to = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    return [
        {"from": account.address, "to": to, "value": 1}, {"from": account.address, "to": to, "value": 10**15},
        {"from": account.address, "to": to, "value": 2},
        {"from": account.address, "data": "0x60006000fd", "gas": 90_000, "value": 0},
    ]  # fmt: skip


def failure(error: Web3RPCError) -> dict[str, Any]:
    said = error.rpc_response or {}
    return {"code": said["error"]["code"], "message": said["error"]["message"]}


def plain(rpc: str, account: Any, layer: Callable[..., Any] | None) -> list[Any]:
    w3 = Web3(HTTPProvider(rpc, request_kwargs={"timeout": 120}))
    w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
    if layer is not None:
        w3.middleware_onion.inject(layer, layer=0)
    found: list[Any] = []
    for wish in wishes(account):
        try:
            name = w3.eth.send_transaction(wish)  # type: ignore[arg-type]
            found.append(w3.eth.wait_for_transaction_receipt(name)["status"])
        except Web3RPCError as error:
            found.append(failure(error))
    try:
        w3.eth.sign(account.address, text="an order")
    except Web3RPCError as error:
        found.append(failure(error))
    return found


async def awaited(rpc: str, account: Any, layer: Callable[..., Any] | None) -> list[Any]:
    w3 = AsyncWeb3(AsyncHTTPProvider(rpc))
    w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
    if layer is not None:
        w3.middleware_onion.inject(layer, layer=0)
    found: list[Any] = []
    for wish in wishes(account):
        try:
            name = await w3.eth.send_transaction(wish)  # type: ignore[arg-type]
            found.append((await w3.eth.wait_for_transaction_receipt(name))["status"])
        except Web3RPCError as error:
            found.append(failure(error))
    try:
        await w3.eth.sign(account.address, text="an order")
    except Web3RPCError as error:
        found.append(failure(error))
    await w3.provider.disconnect()
    return found


def main() -> None:
    said = json.loads(sys.argv[1])
    account = Account.from_key(said["key"])

    def run(layer: Callable[..., Any] | None) -> list[Any]:
        if said["mode"] == "plain":
            return plain(said["rpc"], account, layer)
        return asyncio.run(awaited(said["rpc"], account, layer))

    if "api" not in said:
        print(json.dumps(run(None)))
        return
    from aegis_web3 import governed

    with aegis_core.connect_sync(said["api"], tenant=said["tenant"], token=said["token"]) as governor:
        print(json.dumps(run(governed(governor.handshake("trader"), intent="Pay"))))


if __name__ == "__main__":
    main()
