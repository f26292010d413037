"""``aegis chains`` against a chain of this machine, as a person or a script meets it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from anvil import Anvil
from signing import COIN, GWEI, fields
from terminal import run_aegis
from trading import Market, call

DEAD = "http://127.0.0.1:1/secret-key"


@pytest.fixture
def aegis(anvil: Anvil, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    def run(*arguments: str, **chains: dict[str, object]) -> tuple[int, str, str]:
        path = tmp_path / "chains.json"
        path.write_text(json.dumps({"anvil": {"rpc": [anvil.url], "usd": 2_000} | chains.pop("anvil", {})} | chains))
        monkeypatch.setenv("AEGIS_CHAINS_FILE", str(path))
        return run_aegis(monkeypatch, capsys, "chains", *arguments)

    monkeypatch.chdir(tmp_path)
    return run


def test_status_says_gas_age_and_dollars(anvil: Anvil, aegis) -> None:
    anvil.base_fee(100 * GWEI)
    anvil.mine()
    code, out, _ = aegis("status", "--json")
    (line,) = json.loads(out)
    base = int(anvil.rpc("eth_getBlockByNumber", "latest", False)["baseFeePerGas"], 16)
    assert (code, line["id"], line["sources"], line["nodes"]) == (0, "eip155:31337", 1, 1)
    assert (int(line["base_fee_wei"]), line["coin_usd"]) == (base, 2_000)
    assert line["transfer_usd"] == pytest.approx(21_000 * base / COIN * 2_000)
    code, out, _ = aegis("status")
    assert code == 0
    assert "anvil (test network)" in out
    assert "1 of 1" in out


def test_status_says_what_is_wrong_and_hides_keys(aegis) -> None:
    code, out, told = aegis("status", anvil={"rpc": [DEAD], "usd": 1})
    assert code == 1
    assert "unknown" in out
    assert "node 1 (127.0.0.1) cannot be reached" in told
    assert "secret-key" not in out + told


def test_quote_says_the_most_that_it_can_cost(anvil: Anvil, aegis) -> None:
    sender = anvil.account()
    raw = "0x" + bytes(sender.sign_transaction(fields(2, value=COIN // 10, gas=21_000)).raw_transaction).hex()
    code, out, _ = aegis("quote", "anvil", raw, "--json")
    found = json.loads(out)
    assert (code, found["sender"], found["fees_wei"]) == (0, sender.address.lower(), str(21_000 * 3 * GWEI))
    assert (found["value_usd"], found["fees_usd"], found["total_usd"]) == (200, 0.126, 200.126)
    assert "$200.126" in aegis("quote", "anvil", raw)[1]
    assert anvil.nonce(sender.address) == 0  # nothing was sent


@pytest.mark.parametrize(
    ("chain", "text", "problem"),
    [
        ("anvl", "0x00", "did you mean anvil?"), ("anvil", "02f8", "must be the signed bytes in hexadecimal"),
        ("anvil", "0xzz", "something else than hexadecimal digits"), ("anvil", "0x", "is empty"),
        ("anvil", "0x7f00", "is of type 127"),
    ],
)  # fmt: skip
def test_what_is_no_transaction_is_said_in_a_line(aegis, chain: str, text: str, problem: str) -> None:
    code, out, told = aegis("quote", chain, text)
    assert (code, out) == (1, "")
    assert problem in told
    assert told.count("\n") == 1


def test_without_chains_it_says_how_to_name_some(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AEGIS_CHAINS_FILE", raising=False)
    code, _, told = run_aegis(monkeypatch, capsys, "chains", "status")
    assert code == 1
    assert "AEGIS_CHAINS_FILE" in told


def test_simulate_shows_what_leaves_what_comes_and_what_it_lets_others_do(anvil: Anvil, aegis) -> None:
    market, sender = Market.open(anvil), anvil.account()
    market.fund(sender, 1_000 * COIN)
    tokens = {"AAA": {"address": market.sold, "usd": 1}, "BBB": {"address": market.bought, "usd": "0.5"}}
    chain = {"rpc": [anvil.url], "usd": 2_000, "tokens": tokens, "routers": [market.address]}
    out = market.formula(1_000 * COIN)

    def raw(to: str, data: str) -> str:
        said = fields(2, nonce=anvil.nonce(sender.address), value=0, gas=300_000, to=to, data=data)
        return "0x" + bytes(sender.sign_transaction(said).raw_transaction).hex()

    swap = raw(market.address, market.swap(sender, 1_000 * COIN, out * 97 // 100))
    code, said, _ = aegis("simulate", "anvil", swap, "--json", anvil=chain)
    found = json.loads(said)
    simulation = found["transaction"]["simulation"]
    assert (code, simulation["success"], found["fees_usd"]) == (0, True, 1.8)
    assert {each["symbol"]: each["amount"] for each in simulation["moves"]}["AAA"] == "-1000"
    assert found["reserves_usd"] == pytest.approx(1.8 + 1_000 - out * 97 // 100 / COIN / 2)
    said = aegis("simulate", "anvil", swap, anvil=chain)[1]
    assert re.search(r"leaves: AAA +1000 +\$1,000\.00", said)
    assert re.search(rf"comes: BBB +{out // COIN}\.\d+ +\$", said)
    assert f"Signed: 1000 AAA ($1,000.00) for at least {out * 97 // 100 // COIN}." in said
    giving = raw(market.sold, call("approve(address,uint256)", "0x" + "12" * 20, 2**256 - 1))
    said = aegis("simulate", "anvil", giving, anvil=chain)[1]
    assert f"0x{'12' * 20} may take everything of AAA" in said
    code, said, _ = aegis("simulate", "anvil", raw(market.sold, "0x12345678"), anvil=chain)
    assert (code, "It would be reverted" in said) == (1, True)
    assert anvil.nonce(sender.address) == 1, "of the approval that a test made, and nothing else"


def test_watch_tells_of_each_price_once(anvil: Anvil, aegis) -> None:
    anvil.base_fee(100 * GWEI)
    code, out, _ = aegis("watch", "--every", "0.1", "--looks", "3", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, len(lines), lines[0]["id"]) == (0, 1, "eip155:31337")
    code, out, told = aegis("watch", "--looks", "1", anvil={"rpc": [DEAD], "usd": 1})
    assert (code, "anvil unknown" in out) == (0, True)
    assert "cannot be reached" in told
    assert re.match(
        r"\d\d:\d\d:\d\d anvil [\d.]+ gwei, a transfer \$[\d.]+, block \d", aegis("watch", "--looks", "1")[1]
    )
