"""The program of ``docs/chains.md`` that sends, on a chain of this machine."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path

import pytest
from anvil import Anvil
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
    (said,) = [match[2] for match in BLOCK.finditer(PAGE) if match[1] == "json" and '"rpc"' in match[2]]
    path = tmp_path / "chains.json"
    path.write_text(said)
    assert sorted(read_chains(path)) == ["ethereum", "monad", "our-chain"]


def test_the_rules_are_a_policy() -> None:
    from aegis_core.policy.loading import load_policy

    (said,) = [match[2] for match in BLOCK.finditer(PAGE) if match[1] == "json" and '"rules"' in match[2]]
    assert len(load_policy(said, "docs/chains.md").rules) == 6
