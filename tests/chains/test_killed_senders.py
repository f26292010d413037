"""Whoever is killed between reservation, sending and receipt: it is settled once afterwards, as the chain says."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from anvil import Anvil
from signing import COIN
from wallets import USD, desk_of

from aegis_core import Settings

PROGRAM = Path(__file__).with_name("killed.py")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("moment", ["reserved", "sending", "accepted", "sent"])
async def test_it_is_settled_once(settings: Settings, anvil: Anvil, tmp_path: Path, moment: str) -> None:
    async with desk_of(settings, anvil, tmp_path) as desk:
        address, raw = desk.account.address, "0x" + desk.signed().hex()
        before = anvil.balance(address)
        said = (settings.url, settings.tenant, str(tmp_path / "chains.json"), address, raw, moment)
        process = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), *said)
        assert await process.wait() == -signal.SIGKILL
        assert anvil.nonce(address) == (moment in {"accepted", "sent"})
        held = (await desk.spent())[1]
        assert held > 0
        if moment == "reserved":  # nothing was sent, and whoever comes back may send it
            async with desk.wallet.transact(raw, intent="Pay") as tx:
                await tx.send()
        await desk.end()
        await desk.end()
        took = before - anvil.balance(address)
        assert took > COIN // 1_000
        assert await desk.spent() == (-(-took * USD * 10**9 // COIN), 0)
        assert anvil.nonce(address) == 1
