"""Whatever is refused is refused by every road: in the process, over HTTP, by the RPC URL, and by web3.py's layer."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aegis_web3.middleware import SEND, governed
from anvil import COIN, Anvil
from fetching import ROOT, WEB3
from guarding import guarded
from roads import rpc_key, serving_rpc
from trading import Deployer, call
from wallets import USD, Desk, desk_of

import aegis_core
from aegis_core import Settings
from aegis_core.chains.transaction import decode
from aegis_core.errors import AegisDenied
from aegis_core.proxy.rpc import RpcRoad

pytestmark = pytest.mark.timeout(300)
NO_DEPLOY = {"name": "no-deploy", "type": "contract_creation", "networks": "main"}
SMALL = {"name": "small", "type": "max_outflow", "limit_usd": 1}


@pytest.fixture
async def desk(settings: Settings, anvil: Anvil, tmp_path: Path) -> AsyncIterator[Desk]:
    """On a chain whose coin is worth something, as far as its operator says."""
    async with desk_of(settings, anvil, tmp_path, testnet=False, gas_seconds=600) as made:
        yield made


async def refused_by_agent(governor: Any, desk: Desk, raw: bytes) -> str:
    agent = await governor.handshake("trader")
    with pytest.raises(AegisDenied) as refused:
        async with agent.wallet("anvil", desk.account.address).transact(raw, intent="Deploy", wait=0):
            pytest.fail("it was granted")
    return refused.value.verdict.rule


async def test_a_deployment_to_a_main_network(desk: Desk, settings: Settings, tmp_path: Path) -> None:
    factory = Deployer(desk.anvil, desk.anvil.account(100)).deploy("Factory")
    raws = [
        desk.signed(to="", data="0x60006000fd", value=0),
        desk.signed(to=factory, data=call("make()"), value=0, gas=900_000),
    ]
    await desk.rules(NO_DEPLOY)
    secret = await rpc_key(desk)
    with_chains = settings.model_copy(update={"chains_file": tmp_path / "chains.json"})
    with guarded(with_chains) as home, serving_rpc(settings, tmp_path, secret) as url:
        async with aegis_core.connect(home.url, tenant=settings.tenant, token=home.operator_key) as remote:
            for raw in raws:
                assert await refused_by_agent(desk.governor, desk, raw) == "no-deploy"
                assert await refused_by_agent(remote, desk, raw) == "no-deploy"
                asked = {"jsonrpc": "2.0", "id": 7, "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
                # As raw as can be: another program, which knows nothing of Aegis.
                curl = ["curl", "--silent", "--include", "--noproxy", "*", "--json", json.dumps(asked), url]
                done = await asyncio.to_thread(subprocess.run, curl, capture_output=True, text=True, check=True)
                head, _, body = done.stdout.partition("\n\n")
                error = json.loads(body)["error"]
                assert head.startswith("HTTP/1.1 200 ")
                assert (error["code"], error["data"]["rule"]) == (-32003, "no-deploy")
                assert error["message"].startswith("Aegis refused: ")
    assert desk.anvil.nonce(desk.account.address) == 0
    assert await desk.spent() == (0, 0)


@pytest.mark.parametrize("mode", ["plain", "async"])
@pytest.mark.parametrize("road", ["rpc", "layer"])
async def test_web3_shows_refusals_with_our_sentence_and_sends_once(
    desk: Desk, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, road: str, mode: str
) -> None:
    python = WEB3.path() / "bin" / "python"
    await desk.rules(NO_DEPLOY, SMALL)
    arrived: list[str] = []
    send = RpcRoad._send

    async def noted(self: RpcRoad, text: str, *rest: Any) -> str:
        arrived.append(text)
        return await send(self, text, *rest)

    monkeypatch.setattr(RpcRoad, "_send", noted)
    said = {"key": desk.account.key.hex(), "mode": mode}
    secret, before = await rpc_key(desk), desk.anvil.balance(desk.account.address)

    async def run(**more: str) -> list[Any]:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'integrations'}"}
        command = [str(python), str(Path(__file__).with_name("web3_program.py")), json.dumps(said | more)]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environment)
        out, _ = await process.communicate()
        assert process.returncode == 0
        return json.loads(out)

    if road == "rpc":
        with serving_rpc(settings, tmp_path, secret) as url:
            first, dear, second, contract, sign = await run(rpc=url)
        assert len(set(arrived)) == len(arrived) == 4
    else:
        with guarded(settings.model_copy(update={"chains_file": tmp_path / "chains.json"})) as home:
            first, dear, second, contract, sign = await run(
                rpc=desk.anvil.url, api=home.url, token=home.operator_key, tenant=settings.tenant
            )
        assert arrived == []
    assert (first, second) == (1, 1)
    assert (dear["code"], contract["code"], sign["code"]) == (-32003, -32003, -32601)
    assert dear["message"].startswith("Aegis refused: $2.00 leave the wallet")
    assert "creates a contract" in contract["message"]
    assert desk.anvil.nonce(desk.account.address) == 2
    await desk.end()
    took = before - desk.anvil.balance(desk.account.address)
    spent, held = await desk.spent()
    assert held == 0
    assert 0 <= spent - took * USD * 10**9 // COIN <= 2, "each of the two rounded up"


async def test_the_layer_judges_batches_one_by_one_and_passes_reading_on(desk: Desk) -> None:
    await desk.rules(SMALL)
    passed: list[Any] = []

    async def node(requests: Any) -> Any:
        passed.extend(requests)
        return [{"jsonrpc": "2.0", "id": at, "result": "0x7a69"} for at, _ in enumerate(requests)]

    layer = governed(desk.agent, intent="Pay")(None)
    ask = await layer.async_wrap_make_batch_request(node)
    raws = [desk.signed(), desk.signed(value=1)]
    sent = [(SEND, ["0x" + raws[0].hex()]), (SEND, [raws[1]])]
    others = [(SEND, []), (SEND, ["0xzz"]), (SEND, ["0x02c0"]), ("eth_sendBundle", [{}]), ("personal_sign", ["0x"])]
    answers = await ask([("eth_chainId", []), *sent, *others, ("eth_blockNumber", [])])
    assert passed == [("eth_chainId", []), ("eth_blockNumber", [])]
    codes = [each.get("error", {}).get("code") for each in answers]
    assert codes == [None, -32003, None, -32602, -32602, -32602, -32601, -32601, None]
    assert (answers[1]["error"]["data"]["rule"], answers[2]["result"]) == ("small", decode(raws[1]).hash)
    assert desk.anvil.nonce(desk.account.address) == 1
    await desk.end()

    async def broken(requests: Any) -> Any:
        return {"jsonrpc": "2.0", "id": None, "error": {"code": -32005, "message": "limit exceeded"}}

    ask = await layer.async_wrap_make_batch_request(broken)
    assert (await ask([("eth_chainId", []), (SEND, [desk.signed(value=3)])]))["error"]["code"] == -32005
    assert desk.anvil.nonce(desk.account.address) == 1, "nothing is sent where the others failed"
