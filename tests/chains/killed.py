"""A process that sends a transaction and is killed at a moment that its starter names. Prints what it got to know."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aegis_core
from aegis_core.chains.book import opened_chains
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.testing import private_settings


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, tenant: str, chains_file: str, address: str, raw: str, moment: str) -> None:
    settings = private_settings(url=url, tenant=tenant)
    async with aegis_core.connect(settings=settings) as governor, opened_chains(Path(chains_file)) as chains:
        port = governor.port
        assert isinstance(port, ResourceGovernor)
        transactions = port.transactions
        transactions.chains = chains
        agent = await governor.handshake("trader")
        network = chains.find("anvil").network
        async with agent.wallet("anvil", address).transact(raw, intent="Pay", ttl=0.5) as tx:
            if moment == "reserved":
                die()
            if moment == "sending":
                network.broadcast = die
            if moment == "accepted":
                before = network.broadcast

                async def broadcast(content: bytes, name: str) -> None:
                    await before(content, name)
                    die()

                network.broadcast = broadcast
            await tx.send()
            die()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
