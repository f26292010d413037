"""An RPC URL for any library: what is refused is a JSON-RPC error with our sentence, and what is sent is sent once."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from anvil import COIN, Anvil
from wallets import USD, Desk, desk_of

from aegis_core import Settings
from aegis_core.governor.proxy_keys import KeyTerms
from aegis_core.proxy.app import opened
from aegis_core.proxy.exchange import Exchange

pytestmark = pytest.mark.timeout(300)


class Client:
    """JSON-RPC, as any library speaks it."""

    def __init__(self, http: httpx.AsyncClient, key: str) -> None:
        self._http, self._key, self._ids = http, key, itertools.count(1)

    async def post(self, content: Any, path: str = "/rpc/anvil") -> httpx.Response:
        return await self._http.post(path, json=content, headers={"authorization": f"Bearer {self._key}"})

    def asked(self, method: str, *parameters: Any) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": parameters}

    async def call(self, method: str, *parameters: Any) -> Any:
        asked = self.asked(method, *parameters)
        answer = await self.post(asked)
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert said["id"] == asked["id"]
        return said.get("error") or said["result"]

    async def send(self, raw: bytes) -> Any:
        return await self.call("eth_sendRawTransaction", "0x" + raw.hex())


@pytest.fixture
async def desk(settings: Settings, anvil: Anvil, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_of(settings, anvil, tmp_path) as made:
        yield made


@pytest.fixture
async def client(settings: Settings, desk: Desk, tmp_path: Path) -> AsyncIterator[Client]:
    key = await desk.port.operator.proxy_keys.create(KeyTerms(agent_id="trader"), author="test")
    with_chains = settings.model_copy(update={"chains_file": tmp_path / "chains.json"})
    async with opened(with_chains) as proxy:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await proxy.handle(Exchange(scope, receive, send))

        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://proxy", timeout=120) as http:
            yield Client(http, key.secret)


async def test_what_is_sent_is_charged_once_however_often_it_comes(desk: Desk, client: Client) -> None:
    raw, before = desk.signed(), desk.anvil.balance(desk.account.address)
    name = await client.send(raw)
    assert desk.anvil.receipt(name)["status"] == "0x1"
    assert await client.send(raw) == name
    assert int(await client.call("eth_getTransactionCount", desk.account.address, "latest"), 16) == 1
    await desk.end()
    assert await client.send(raw) == name  # settled, and the same still
    took = before - desk.anvil.balance(desk.account.address)
    assert await desk.spent() == (-(-took * USD * 10**9 // COIN), 0)


async def test_a_refusal_is_an_error_with_our_sentence_and_its_nonce_stays_usable(desk: Desk, client: Client) -> None:
    await desk.rules({"name": "small", "type": "max_outflow", "limit_usd": 1})
    error = await client.send(desk.signed())
    assert (error["code"], error["data"]["rule"]) == (-32003, "small")
    assert error["message"].startswith("Aegis refused: $2.00 leave the wallet")
    assert await desk.spent() == (0, 0)
    name = await client.send(desk.signed(value=1))
    assert desk.anvil.receipt(name)["status"] == "0x1"
    await desk.end()


async def test_a_bump_takes_the_place_of_what_it_is_of(desk: Desk, client: Client) -> None:
    desk.anvil.rpc("evm_setAutomine", False)
    try:
        await client.send(desk.signed(nonce=0))
        await client.send(desk.signed(nonce=0, maxFeePerGas=9 * 10**9, maxPriorityFeePerGas=5 * 10**9))
    finally:
        desk.anvil.rpc("evm_setAutomine", True)
    await desk.end()
    took = 10 * COIN - desk.anvil.balance(desk.account.address)
    assert await desk.spent() == (-(-took * USD * 10**9 // COIN), 0)


async def test_only_the_agents_wallets_and_only_chains_that_are_set_up(desk: Desk, client: Client) -> None:
    stranger = desk.anvil.account()
    error = await client.send(desk.signed(account=stranger))
    assert (error["code"], error["data"]["code"]) == (-32003, "foreign_wallet")
    answer = await client.post(client.asked("eth_chainId"), path="/rpc/monad")
    assert "is not a chain" in answer.json()["error"]["message"]
    assert (await client.post(client.asked("eth_chainId"), path="/rpc/anvil/more")).status_code == 404


async def test_what_could_sign_or_send_otherwise_is_not_there(desk: Desk, client: Client) -> None:
    for method in (
        "eth_sendTransaction", "eth_sign", "eth_signTransaction", "personal_sign", "wallet_sendCalls", "eth_sendBundle",
        "eth_sendRawTransactionSync", "eth_sendUserOperation", "anvil_setBalance", "debug_traceCall", "evm_mine",
    ):  # fmt: skip
        assert (await client.call(method))["code"] == -32601
    assert int(await client.call("eth_chainId"), 16) == 31337
    assert await client.call("eth_accounts") == []
    assert (await client.call("eth_getBalance", "0x12", "latest"))["code"] == -32602  # the node's own words


async def test_a_batch_is_judged_one_by_one_and_broken_ones_are_told(desk: Desk, client: Client) -> None:
    await desk.rules({"name": "small", "type": "max_outflow", "limit_usd": 1})
    raws = [desk.signed(), desk.signed(value=1), b"\x02\xc0"]
    said = (await client.post([client.asked("eth_sendRawTransaction", "0x" + raw.hex()) for raw in raws])).json()
    assert [each.get("error", {}).get("code") for each in said] == [-32003, None, -32602]
    for broken in ([], "x", 5, {"method": 5}, {"method": "eth_call", "params": {}}, [{}] * 101):
        assert (await client.post(broken)).json()["error"]["code"] == -32600
    await desk.end()
