"""The program of ``docs/chains.md`` that sends, on a chain of this machine."""

from __future__ import annotations

import asyncio
import os
import textwrap
from pathlib import Path

import pytest
from anvil import Anvil
from fetching import WEB3
from guarding import guarded
from wallets import desk_of, written

import aegis_core
from aegis_core import Settings
from aegis_core.chains.configuration import read_chains
from tests.project.pages import BLOCK, ROOT

PAGE = (ROOT / "docs" / "chains.md").read_text()


@pytest.mark.timeout(300)
async def test_the_program_that_sends(
    settings: Settings, anvil: Anvil, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = [match[2] for match in BLOCK.finditer(PAGE) if "transact(" in match[2]]
    async with desk_of(settings, anvil, tmp_path) as desk:
        await desk.watch.leave()  # the program's own connection watches
        found = settings.model_copy(update={"chains_file": written(tmp_path, anvil)})
        program = program.replace("connect()", "connect(settings=SETTINGS)")
        program = program.replace("await tx.send()", "await tx.send(); ANVIL.finalize()")
        program = program.replace("    async with wallet", "    await SEEN(governor)\n    async with wallet")
        names: dict[str, object] = {
            "aegis_core": aegis_core, "SETTINGS": found, "ANVIL": anvil, "CHAIN": "anvil", "SEEN": seen,
            "ADDRESS": desk.account.address, "SIGNED": desk.signed(),
        }  # fmt: skip
        exec(f"async def main():\n{textwrap.indent(program, '    ')}", names)
        await names["main"]()  # type: ignore[operator]
        assert capsys.readouterr().out.startswith("settled 2.")
        assert (await desk.spent())[1] == 0


async def seen(governor: aegis_core.Governor) -> None:
    """Until gas is known, which takes a second after a program connects first."""
    store = governor.port.transactions.store  # type: ignore[attr-defined]
    while await store.gas("eip155:31337") is None:  # noqa: ASYNC110 - it is in the server
        await asyncio.sleep(0.05)


def test_the_file_of_chains_is_one(tmp_path: Path) -> None:
    first, second = [match[2] for match in BLOCK.finditer(PAGE) if match[1] == "json" and '"rpc"' in match[2]]
    path = tmp_path / "chains.json"
    path.write_text(first)
    assert sorted(read_chains(path)) == ["ethereum", "monad", "our-chain"]
    path.write_text(second)
    assert sorted(read_chains(path)) == ["solana", "sui"]


def test_the_rules_are_a_policy() -> None:
    from aegis_core.policy.loading import load_policy

    (said,) = [match[2] for match in BLOCK.finditer(PAGE) if match[1] == "json" and '"rules"' in match[2]]
    assert len(load_policy(said, "docs/chains.md").rules) == 6


PRELUDE = """
import sys
from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.middleware import SignAndSendRawMiddlewareBuilder
import aegis_core, aegis_web3
API, TENANT, TOKEN, RPC, KEY = sys.argv[1:]
ACCOUNT, TO = Account.from_key(KEY), "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
with aegis_core.connect_sync(API, tenant=TENANT, token=TOKEN) as governor:
    agent = governor.handshake("trader")
"""


@pytest.mark.timeout(300)
async def test_the_layer_of_web3(settings: Settings, anvil: Anvil, tmp_path: Path) -> None:
    python = WEB3.path() / "bin" / "python"
    (block,) = [match[2] for match in BLOCK.finditer(PAGE) if "aegis_web3.governed(" in match[2]]
    program = (
        PRELUDE + textwrap.indent(block, "    ") + "    print(w3.eth.wait_for_transaction_receipt(name)['status'])"
    )
    async with desk_of(settings, anvil, tmp_path, gas_seconds=600) as desk:
        with guarded(settings.model_copy(update={"chains_file": tmp_path / "chains.json"})) as home:
            said = (home.url, settings.tenant, home.operator_key, anvil.url, desk.account.key.hex())
            environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'integrations'}"}
            process = await asyncio.create_subprocess_exec(
                str(python), "-c", program, *said, env=environment, stdout=asyncio.subprocess.PIPE
            )
            assert (await process.communicate())[0] == b"1\n"
        await desk.end()
        assert (await desk.spent())[0] > 0
