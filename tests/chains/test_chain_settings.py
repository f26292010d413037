"""The operator's file of chains: what it says is used, and what it cannot mean is refused with file and place."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path

import pytest
from anvil import Anvil

from aegis_core.chains.book import Chains
from aegis_core.chains.configuration import read_chains
from aegis_core.errors import ChainError, ConfigurationError, InvalidRequestError

FEED = "0x5f4eC3Df9cbd43714FE2740f5E3616155c5b8419"
NODE = "https://node.example/secret-key"


def written(tmp_path: Path, said: object) -> Path:
    path = tmp_path / "chains.json"
    path.write_text(said if isinstance(said, str) else json.dumps(said))
    return path


def test_a_known_chain_needs_nodes_and_a_price(tmp_path: Path) -> None:
    said = {"monad": {"rpc": [NODE], "usd": "0.03", "stale_seconds": 10}, "sepolia": {"rpc": [NODE] * 3, "quorum": 3}}
    found = read_chains(written(tmp_path, said))
    monad, sepolia = found["monad"], found["sepolia"]
    assert (monad.profile.id, monad.profile.fees, monad.usd) == ("eip155:143", "monad", Decimal("0.03"))
    assert (monad.profile.stale_seconds, monad.profile.most_gas) == (10, 30_000_000)
    assert (sepolia.quorum, sepolia.usd) == (3, 0)  # the coin of a test network is worth nothing


def test_an_unknown_chain_says_how_it_charges(tmp_path: Path) -> None:
    said = {"private": {"rpc": [NODE], "id": "eip155:77", "symbol": "ABC", "fees": "ethereum", "finality": "latest"}}
    profile = read_chains(written(tmp_path, said))["private"].profile
    assert (profile.number, profile.symbol, profile.testnet, profile.finality) == (77, "ABC", False, "latest")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"private": {"rpc": [NODE], "id": "eip155:77"}}, "private: is not known here; say its id"),
        ({"monad": {"rpc": []}}, "monad.rpc"),
        ({"monad": {"rpc": ["ftp://x"]}}, "monad.rpc.0: is no URL"),
        ({"monad": {"rpc": [NODE], "quorum": 2}}, "quorum: 2 of 1 nodes can never agree"),
        ({"monad": {"rpc": [NODE], "usd": -1}}, "monad.usd"),
        ({"monad": {"rpc": [NODE], "usd": 1, "feed": {"address": FEED, "heartbeat_seconds": 1}}}, "give one of usd"),
        ({"monad": {"rpc": [NODE], "feed": {"address": "0x12", "heartbeat_seconds": 1}}}, "is not an address"),
        ({"monad": {"rpc": [NODE], "feed": {"address": FEED[:-1] + "8", "heartbeat_seconds": 1}}}, "checksum"),
        (
            {"monad": {"rpc": [NODE], "feed": {"address": FEED, "heartbeat_seconds": 1, "chain": "ethereum"}}},
            "monad.feed.chain: the file says nothing of a chain ethereum",
        ),
        ({"monad": {"rpc": [NODE], "id": "eip155:1"}}, "monad.id: is eip155:143"),
        ({"monad": {"rpc": [NODE], "key": "x"}}, "monad.key"),
        ({"Monad": {"rpc": [NODE]}}, "Monad"),
        ({"a": {"rpc": [NODE], "id": "eip155:143", "symbol": "M", "fees": "monad"}, "monad": {"rpc": [NODE]}}, "id of"),
        ('{"monad": 1, "monad": 2}', "given twice"),
        ("[" * 100_000, "is not valid JSON"),
        (" " * 1_000_001, "is larger than"),
    ],
    ids=lambda value: value[:24].strip() if isinstance(value, str) else None,
)  # fmt: skip
def test_what_it_cannot_mean_is_refused_with_its_place(tmp_path: Path, said: object, problem: str) -> None:
    path = written(tmp_path, said)
    with pytest.raises(ConfigurationError) as refused:
        read_chains(path)
    assert refused.value.message.startswith(f"AEGIS_CHAINS_FILE: {path}: ")
    assert problem in refused.value.message
    assert "secret-key" not in refused.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_chains(tmp_path / "none.json")


def word(number: int) -> str:
    return f"{number:064x}"


def feed_code(answer: int, updated: int, decimals: int) -> str:
    """A contract that answers a call of 4 bytes: `decimals()` with those, everything else as `latestRoundData()`."""
    # PUSH1 0 CALLDATALOAD PUSH1 224 SHR PUSH4 decimals EQ PUSH1 dest JUMPI; five words to memory; RETURN
    head = "60003560e01c63313ce56714"
    body = ""
    for at, value in enumerate((1, answer, updated, updated, 1)):
        body += f"7f{word(value)}60{32 * at:02x}52"
    body += "60a06000f3"
    jump = len(head) // 2 + 3
    dest = jump + len(body) // 2
    assert dest < 256
    return f"0x{head}60{dest:02x}57{body}5b60{decimals:02x}60005260206000f3"


async def price(anvil: Anvil, tmp_path: Path, code: str, **feed: object) -> Decimal:
    said = {"anvil": {"rpc": [anvil.url], "feed": {"address": anvil.code(code), "heartbeat_seconds": 60} | feed}}
    chains = Chains(read_chains(written(tmp_path, said)))
    try:
        return await chains.find("anvil").usd(time.time())
    finally:
        await chains.aclose()


async def test_a_feed_is_read_with_its_decimals(anvil: Anvil, tmp_path: Path) -> None:
    assert await price(anvil, tmp_path, feed_code(3_123_45678901, int(time.time()), 8)) == Decimal("3123.45678901")


@pytest.mark.parametrize(
    ("answer", "age", "decimals", "problem"),
    [
        (10**8, 61, 8, "is 61 s old"), (10**8, -100, 8, "is -100 s old"), (0, 0, 8, "gives no price"),
        (2**256 - 10**8, 0, 8, "gives no price"), (10**8, 0, 37, "gives no price"),
    ],
)  # fmt: skip
async def test_a_feed_that_cannot_be_believed_is_no_price(
    anvil: Anvil, tmp_path: Path, answer: int, age: int, decimals: int, problem: str
) -> None:
    now = int(time.time())
    with pytest.raises(ChainError) as refused:
        await price(anvil, tmp_path, feed_code(answer, now - age, decimals))
    shown = problem.replace("61 s", f"{61} s")
    assert shown in refused.value.message or (age and "s old" in refused.value.message)
    assert refused.value.facts["reason"] == "unpriced"


async def test_a_sequencer_that_is_down_prices_nothing(anvil: Anvil, tmp_path: Path) -> None:
    now = int(time.time())
    good = feed_code(10**8, now, 8)
    for sequencer in (feed_code(1, now - 10_000, 0), feed_code(0, now - 100, 0)):
        with pytest.raises(ChainError, match="sequencer is down"):
            await price(anvil, tmp_path, good, sequencer=anvil.code(sequencer))
    assert await price(anvil, tmp_path, good, sequencer=anvil.code(feed_code(0, now - 10_000, 0))) == 1


async def test_a_chain_that_nobody_set_up_is_refused_by_name(tmp_path: Path) -> None:
    chains = Chains(read_chains(written(tmp_path, {"monad": {"rpc": [NODE]}})))
    assert chains.find("Monad") is chains.find("eip155:143")
    with pytest.raises(InvalidRequestError, match="did you mean monad"):
        chains.find("monda")
    with pytest.raises(ChainError, match="nothing says what MON costs"):
        await chains.find("monad").usd(0)
    await chains.aclose()
