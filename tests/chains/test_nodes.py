"""What nodes say is believed where enough of them agree, and a broken answer is no answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nodes import BROKEN, SILENT, SLOW, Answer, block, error, http, numbered, result, says, serving, sound
from signing import signed

from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.profiles import find_profile
from aegis_core.errors import ChainError

ANVIL = find_profile("anvil")
assert ANVIL is not None
GWEI = 10**9
HASH = "0x" + "ab" * 32
pytestmark = pytest.mark.timeout(120)


@asynccontextmanager
async def network(*answers: Answer, longest: float = 60, quorum: int | None = None) -> AsyncIterator[ChainNetwork]:
    async with serving(*answers) as urls:
        made = ChainNetwork(ANVIL, urls, timeout=longest, quorum=quorum)
        try:
            yield made
        finally:
            await made.aclose()


async def price_of(chain: ChainNetwork) -> int:
    return (await chain.gas_price(time.time())).base_fee


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_answer_is_refused_alone_and_outvoted_by_two(kind: str) -> None:
    async with network(sound(), BROKEN[kind], sound()) as chain:
        if kind == "an old block":
            chain._newest = 1_000  # as it is after the first poll
        found = await chain.gas_price(time.time())
        assert (found.base_fee, found.sources) == (100 * GWEI, 2)
        alone = ChainNetwork(ANVIL, [chain.nodes[1]._url], timeout=60)
        alone._newest = 1_000
        with pytest.raises(ChainError) as refused:
            await alone.gas_price(time.time())
        assert refused.value.facts["chain"] == ANVIL.id
        assert "key-of-the-operator" not in refused.value.message
        assert refused.value.message.isprintable()
        await alone.aclose()


@pytest.mark.concurrent
@pytest.mark.parametrize("kind", SLOW)
async def test_a_slow_node_has_its_time_and_no_more(kind: str) -> None:
    async with network(SLOW[kind], longest=0.5) as chain:
        began = time.monotonic()
        with pytest.raises(ChainError, match=r"did not answer eth_getBlockByNumber within 0\.5 s"):
            await chain.gas_price(time.time())
        assert time.monotonic() - began < 60


async def test_where_enough_agree_the_slow_one_is_not_waited_for() -> None:
    silent = SLOW["silence"]
    async with network(says("0x7"), silent, says("0x7"), longest=3_600) as chain:
        assert await chain.agreed("eth_blockNumber", read=str) == "0x7"


@pytest.mark.parametrize(
    ("fees", "expected"),
    [
        ([100, 100, 100], 100),
        ([100, 110, 1_000], 110),  # a lie of ten times is outvoted
        ([100, 110, 10], 110),
        ([100, 190], 190),  # of two the higher counts
        ([100, 201], None),  # two that differ by more than a factor of two
        ([100, 1_000, 10_000], None),
        ([1_000], 1_000),  # one node alone is believed
        ([1_000, 1_000, 100], 1_000),  # two liars who agree outvote one; more nodes are the remedy
        ([100, 101, 102, 1_000, 1_000], 101),
    ],
)
async def test_the_median_within_a_factor_of_two_counts(fees: list[int], expected: int | None) -> None:
    async with network(*(sound(fee * GWEI) for fee in fees)) as chain:
        if expected is None:
            with pytest.raises(ChainError, match="different answers"):
                await price_of(chain)
        else:
            assert await price_of(chain) == expected * GWEI


async def test_a_node_that_falls_far_behind_is_passed_over() -> None:
    async with network(sound(number=5_000), sound(number=4_990), sound(10 * GWEI, number=10)) as chain:
        found = await chain.gas_price(time.time())
        assert (found.base_fee, found.block, found.sources) == (100 * GWEI, 5_000, 2)
        assert (await chain.gas_price(time.time())).sources == 2


async def test_answers_count_only_when_they_are_the_same() -> None:
    async with network(says("0x7"), says("0x8"), says("0x9")) as chain:
        with pytest.raises(ChainError, match="needs the same answer of 2 of 3 nodes: the others give 3 different"):
            await chain.agreed("eth_blockNumber", read=str)


async def test_a_height_is_what_enough_nodes_have_reached() -> None:
    async with network(*(sound(number=number) for number in (9_000, 100, 110))) as chain:
        assert await chain.height("finalized") == 110
    async with network(says(None), says(None), sound()) as chain:
        with pytest.raises(ChainError, match="not an object"):
            await chain.height("finalized")


async def test_a_count_of_transactions_is_what_enough_nodes_have_seen() -> None:
    async with network(says("0x5"), says("0x6"), says("0xffff")) as chain:
        assert await chain.nonce("0x" + "11" * 20, "pending") == 6


class Heard(list[str]):
    """What nodes were handed."""

    def __init__(self) -> None:
        super().__init__()
        self.all_three = asyncio.Event()

    def hear(self, raw: str) -> None:
        self.append(raw)
        if len(self) == 3:
            self.all_three.set()


def taking(said: object, known: object = None, seen: Heard | None = None) -> Answer:
    """A node that answers this to a transaction."""

    def answer(method: str, parameters: list[object], number: int) -> bytes:
        if method == "eth_sendRawTransaction":
            if seen is not None:
                seen.hear(str(parameters[0]))
            return error(-32000, said, number) if isinstance(said, str) else result(HASH, number)
        return result("0x7a69" if method == "eth_chainId" else known, number)

    return answer


async def test_one_node_that_takes_a_transaction_is_enough_and_all_hear_of_it() -> None:
    seen = Heard()
    async with network(taking("txpool is full", seen=seen), taking(None, seen=seen), taking(None, seen=seen)) as chain:
        await chain.broadcast(signed(), HASH)
        await seen.all_three.wait()
    assert seen == ["0x" + signed().hex()] * 3


async def test_a_refusal_is_told_in_the_words_of_the_node() -> None:
    async with network(taking("insufficient funds for gas"), taking("insufficient funds")) as chain:
        with pytest.raises(ChainError, match=r"anvil refuses the transaction 0xabab.*insufficient funds for gas") as no:
            await chain.broadcast(signed(), HASH)
        assert no.value.facts["reason"] == "refused"


async def test_what_a_node_knows_already_is_taken() -> None:
    async with network(taking("already known", known={"hash": HASH}), taking("nonce too low")) as chain:
        await chain.broadcast(signed(), HASH)


async def test_where_nobody_can_say_whether_it_was_taken_that_is_said() -> None:
    async with network(numbered(lambda number: b"")) as chain:
        with pytest.raises(ChainError, match="is not known") as unknown:
            await chain.broadcast(signed(), HASH)
        assert unknown.value.facts["reason"] == "unknown"


async def test_a_node_that_changes_its_chain_is_found_out_after_a_fault() -> None:
    chains = iter(["0x7a69", "0x1"])
    answers = iter([result(block(), 2), b""])

    def answer(method: str, parameters: list[object], number: int) -> bytes:
        if method == "eth_chainId":
            return result(next(chains), number)
        content = next(answers)
        return content if not content else http(json.dumps({"id": number, "result": block()}).encode())

    async with network(answer) as chain:
        await chain.gas_price(time.time())
        for expected in ("cannot be reached", "serves chain 1, not 31337"):
            with pytest.raises(ChainError, match=expected):
                await chain.gas_price(time.time())


async def test_closing_gives_up_what_is_still_on_its_way() -> None:
    def silent(method: str, parameters: list[object], number: int) -> bytes:
        return result("0x7a69", number) if method == "eth_chainId" else SILENT

    async with network(silent, taking(None), longest=3_600) as chain:
        await chain.broadcast(signed(), HASH)
        assert len(chain._sending) == 1
    assert not chain._sending
