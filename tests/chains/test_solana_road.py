"""The RPC URL for Solana: what is refused is an error that its clients show, and what is sent is sent once."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from desks import OtherDesk, other_desk
from fetching import ROOT, SOLANA
from guarding import guarded
from litesvm import GENESIS, SOL, Solana, pay, serving, signature_of
from serving import running
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from aegis_core import Settings
from aegis_core.chains.solana import base58
from aegis_core.governor.proxy_keys import KeyTerms
from aegis_core.proxy.app import ProxyApp, opened
from aegis_core.proxy.exchange import Exchange

NO_DEPLOY = {"type": "contract_creation", "networks": "main"}


@pytest.fixture
def chain() -> Solana:
    return Solana()


@pytest.fixture
def me(chain: Solana) -> Keypair:
    return chain.account()


@pytest.fixture
async def desk(settings: Settings, chain: Solana, me: Keypair, tmp_path: Path) -> AsyncIterator[OtherDesk]:
    async with serving(chain) as urls:
        said = {"rpc": urls, "id": f"solana:{GENESIS}", "symbol": "SOL", "fees": "solana", "usd": 150}
        async with other_desk(settings, tmp_path, litesvm=said) as made:
            await made.own(str(me.pubkey()))
            yield made


@pytest.fixture
async def call(settings: Settings, desk: OtherDesk, tmp_path: Path) -> AsyncIterator[Any]:
    key = await desk.port.operator.proxy_keys.create(KeyTerms(agent_id="trader"), author="test")
    numbers = itertools.count(1)
    async with opened(settings.model_copy(update={"chains_file": tmp_path / "chains.json"})) as proxy:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await proxy.handle(Exchange(scope, receive, send))

        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy", timeout=60) as http:

            async def asked(method: str, *parameters: Any) -> Any:
                asked = {"jsonrpc": "2.0", "id": next(numbers), "method": method, "params": parameters}
                answer = await http.post("/rpc/litesvm", json=asked, headers={"x-aegis-key": key.secret})
                assert answer.status_code == 200, answer.text
                return answer.json().get("error") or answer.json()["result"]

            yield asked


def sent(raw: bytes) -> tuple[str, dict[str, str]]:
    return b64encode(raw).decode(), {"encoding": "base64"}


async def test_what_is_sent_is_charged_once_in_either_encoding(
    desk: OtherDesk, chain: Solana, me: Keypair, call: Any
) -> None:
    raw = chain.signed([pay(me.pubkey(), Pubkey.new_unique(), SOL // 100)], me)
    assert await call("sendTransaction", *sent(raw)) == signature_of(raw)
    assert await call("sendTransaction", base58.encode(raw)) == signature_of(raw)
    await desk.follow()
    assert await call("sendTransaction", *sent(raw)) == signature_of(raw)
    assert (chain.sent, await desk.spent()) == (1, ((SOL // 100 + 5_000) * 150, 0))
    assert (await call("getBalance", str(me.pubkey())))["value"] == chain.balance(me.pubkey())


async def test_refusals_have_a_code_whose_message_is_shown_and_nothing_is_forwarded(
    desk: OtherDesk, chain: Solana, me: Keypair, call: Any
) -> None:
    await desk.rules({"name": "small", "type": "max_outflow", "limit_usd": 1})
    error = await call("sendTransaction", *sent(chain.signed([pay(me.pubkey(), Pubkey.new_unique(), SOL // 100)], me)))
    assert (error["code"], error["data"]["rule"]) == (-32602, "small")
    assert error["message"].startswith("Aegis refused: $1.50 leave the wallet")
    stranger = chain.account()
    error = await call("sendTransaction", *sent(chain.signed([pay(stranger.pubkey(), me.pubkey(), 10**6)], stranger)))
    assert (error["code"], error["data"]["code"]) == (-32602, "foreign_wallet")
    for method in ("sendBundle", "requestAirdrop", "signTransaction", "eth_sendRawTransaction"):
        assert (await call(method))["code"] == -32601
    await desk.rules({"name": "no-deploy", "type": "contract_creation"})
    loader = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
    deploy = chain.signed([Instruction(loader, bytes(4), [AccountMeta(me.pubkey(), False, True)])], me)
    assert (await call("sendTransaction", *sent(deploy)))["data"]["rule"] == "no-deploy"
    assert (chain.sent, await desk.spent()) == (0, (0, 0))


async def test_nothing_is_reserved_or_forwarded_by_broken_bytes(
    desk: OtherDesk, chain: Solana, me: Keypair, call: Any
) -> None:
    raw, choice = chain.signed([pay(me.pubkey(), Pubkey.new_unique(), SOL // 100)], me), random.Random(28)
    for _ in range(60):
        broken = bytearray(raw)
        for _ in range(choice.randrange(1, 4)):
            broken[choice.randrange(len(raw))] ^= choice.randrange(1, 256)
        assert (await call("sendTransaction", *sent(bytes(broken[: choice.choice([len(raw), 99])]))))["code"] == -32602
    for parameters in ([], [5], ["x", 5], ["é" * 9], ["!" * 5, {"encoding": "base64"}], ["1" * 3_000], ["1", {}, 1]):
        assert (await call("sendTransaction", *parameters))["code"] == -32602
    assert (chain.sent, await desk.spent()) == (0, (0, 0))


@pytest.mark.parametrize("road", ["rpc", "wrapper"])
async def test_solana_py_shows_refusals_with_our_sentence(
    settings: Settings, desk: OtherDesk, chain: Solana, me: Keypair, tmp_path: Path, road: str
) -> None:
    python = SOLANA.path() / "bin" / "python"
    thief = Pubkey.new_unique()
    await desk.rules({"name": "whom", "type": "recipient", "deny": [str(thief)]}, {"name": "no-deploy", **NO_DEPLOY})
    loader = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
    raws = [chain.signed(calls, me) for calls in (
        [pay(me.pubkey(), Pubkey.new_unique(), SOL // 100)], [pay(me.pubkey(), thief, 1)],
        [Instruction(loader, bytes(4), [AccountMeta(me.pubkey(), False, True)])],
    )]  # fmt: skip
    said: dict[str, Any] = {"sends": [b64encode(raw).decode() for raw in raws]}
    with_chains = settings.model_copy(update={"chains_file": tmp_path / "chains.json"})

    async def run(**more: str) -> list[str]:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'integrations'}"}
        command = (str(python), str(Path(__file__).with_name("solana_program.py")), json.dumps(said | more))
        process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1, env=environment)
        out, problem = await process.communicate()
        assert process.returncode == 0, problem
        return json.loads(out)

    if road == "rpc":
        key = await desk.port.operator.proxy_keys.create(KeyTerms(agent_id="trader"), author="test")
        with running(uvicorn.Config(ProxyApp(with_chains), log_config=None, ws="none", lifespan="on")) as url:
            paid, stolen, deployed, height = await run(rpc=f"{url}/rpc/litesvm?key={key.secret}")
    else:
        node = json.loads((tmp_path / "chains.json").read_text())["litesvm"]["rpc"][0]
        with guarded(with_chains) as home:
            paid, stolen, deployed, height = await run(
                rpc=node, api=home.url, token=home.operator_key, tenant=settings.tenant
            )
    assert (paid, height) == (signature_of(raws[0]), str(chain.height))
    shown = 'RPCException: InvalidParamsMessage {{ message: "Aegis refused: {}'
    assert stolen.startswith(shown.format(f"{thief} is listed"))
    assert deployed.startswith(shown.format("The transaction creates a contract"))
    await desk.follow()
    assert (chain.sent, await desk.spent()) == (1, ((SOL // 100 + 5_000) * 150, 0))
