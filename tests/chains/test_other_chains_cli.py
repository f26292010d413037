"""``aegis chains`` for Solana and Sui: their units, their encodings, and what a transaction of theirs would do."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

import pytest
from litesvm import GENESIS, SOL, Solana, holding, new_mint, pay, token_call
from litesvm import serving as solana_at
from solders.compute_budget import set_compute_unit_price
from solders.pubkey import Pubkey
from suichain import CHAIN, SuiServer, schema, vector, vectors
from suichain import serving as sui_at
from terminal import run_aegis

Serving = Callable[..., AbstractAsyncContextManager[list[str]]]


@contextmanager
def beside(serving: Serving, chain: object) -> Iterator[list[str]]:
    """A node in a thread of its own, because a command runs a loop of its own."""
    loop, urls, ended, ready = asyncio.new_event_loop(), list[str](), asyncio.Event(), threading.Event()

    async def serve() -> None:
        async with serving(chain) as found:
            urls.extend(found)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    ready.wait()
    try:
        yield urls
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


@pytest.fixture
def aegis(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    def run(said: dict[str, object], *arguments: str) -> tuple[int, str, str]:
        path = tmp_path / "chains.json"
        path.write_text(json.dumps({"own": {"timeout_seconds": 60} | said}))
        monkeypatch.setenv("AEGIS_CHAINS_FILE", str(path))
        return run_aegis(monkeypatch, capsys, "chains", *arguments)

    monkeypatch.chdir(tmp_path)
    return run


def test_solana(aegis) -> None:
    chain = Solana()
    chain.fees = [2_500] * 3
    me, mint = chain.account(), new_mint(chain)
    mine, theirs = holding(chain, me.pubkey(), mint, 5_000_000), holding(chain, Pubkey.new_unique(), mint, 0)
    move = token_call(
        3, (2_000_000).to_bytes(8, "little"), (mine, False, True), (theirs, False, True), (me.pubkey(), True, False)
    )
    calls = [set_compute_unit_price(10), pay(me.pubkey(), Pubkey.new_unique(), SOL), move]
    raw = chain.signed(calls, me)
    with beside(solana_at, chain) as urls:
        tokens = {"USDC": {"address": str(mint), "decimals": 6, "usd": 1}}
        said = {"rpc": urls, "id": f"solana:{GENESIS}", "symbol": "SOL", "fees": "solana", "usd": 150, "tokens": tokens}
        code, out, _ = aegis(said, "status", "--json")
        (line,) = json.loads(out)
        assert (code, line["base_fee_wei"], line["gas_unit"]) == (0, "2500", "micro-lamports")
        assert line["transfer_usd"] == 0.00075
        assert "2,500 micro-lamports" in aegis(said, "status")[1]
        assert "own 2,500 micro-lamports, a transfer $0.00075" in aegis(said, "watch", "--looks", "1")[1]
        for text in ("0x" + raw.hex(), b64encode(raw).decode()):
            found = json.loads(aegis(said, "quote", "own", text, "--json")[1])
            assert (found["fees_wei"], found["value_wei"], found["unit"]) == ("5003", str(SOL), "lamports")
            assert found["total_usd"] == pytest.approx(150 + 5_003 * 150 / SOL)
        code, out, _ = aegis(said, "simulate", "own", b64encode(raw).decode())
        assert (code, "leaves: USDC" in out, "leaves: SOL" in out) == (0, True, True)
        assert re.search(r"would be held +\$152\.0007", out)
        code, _, told = aegis(said, "quote", "own", "!!")
        assert (code, "nor base64" in told) == (1, True)


def test_sui(aegis) -> None:
    schema(2)
    with beside(sui_at, SuiServer()) as urls:
        said = {"rpc": urls, "id": f"sui:{CHAIN}", "symbol": "SUI", "fees": "sui", "usd": 3}
        code, out, _ = aegis(said, "status", "--json")
        (line,) = json.loads(out)
        assert (code, line["base_fee_wei"], line["gas_unit"], line["transfer_usd"]) == (0, "1000", "MIST", None)
        for text in ("0x" + vector("pay").hex(), vectors()["pay"]["data"]):
            found = json.loads(aegis(said, "quote", "own", text, "--json")[1])
            assert (found["hash"], found["fees_wei"]) == (vectors()["pay"]["digest"], "5000000")
        code, out, _ = aegis(said, "simulate", "own", vectors()["pay"]["data"])
        assert (code, f"pays 0x{'12' * 32}" in out, "leaves: SUI" in out) == (0, True, True)
