"""A program of solana-py, run where that is installed. Prints what came of each thing that it sent, as JSON.

Usage: python solana_program.py '{"rpc": …, "sends": ["base64", …]}'. With `api`, `tenant` and `token` a governed
client asks there; without them the RPC URL is the proxy's.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode
from typing import Any

from solana.rpc.async_api import AsyncClient
from solders.transaction import VersionedTransaction

import aegis_core


async def outcomes(client: Any, said: dict[str, Any]) -> list[str]:
    """The signature, or the name of the exception and what it says."""
    found: list[str] = []
    for raw in map(b64decode, said["sends"]):
        try:
            found.append(str((await client.send_transaction(VersionedTransaction.from_bytes(raw))).value))
        except Exception as error:  # whatever its user sees
            found.append(f"{type(error).__name__}: {error}")
    found.append(str((await client.get_block_height()).value))
    return found


async def main() -> None:
    said = json.loads(sys.argv[1])
    async with AsyncClient(said["rpc"], timeout=120) as client:
        if "api" not in said:
            print(json.dumps(await outcomes(client, said)))
            return
        from aegis_solana import governed

        async with aegis_core.connect(said["api"], tenant=said["tenant"], token=said["token"]) as governor:
            agent = await governor.handshake("trader")
            print(json.dumps(await outcomes(governed(client, agent, chain="litesvm", intent="Pay"), said)))


if __name__ == "__main__":
    asyncio.run(main())
