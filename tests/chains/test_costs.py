"""What is reserved is what is signed, and what is charged is what the chain took."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published import RECEIPTS, Published
from signing import COIN, GWEI, signed

from aegis_core.chains.cost import NativeCost, bound, operator_fee, paid, paid_by, to_nanos, uncapped_fees
from aegis_core.chains.profiles import PROFILES, ChainProfile, find_profile, unknown_chain
from aegis_core.chains.receipts import MinedTransaction, read_receipt
from aegis_core.chains.transaction import decode
from aegis_core.protocol.errors import InvalidRequestError
from aegis_core.protocol.money import MAX_NANOS

ANVIL, MONAD = find_profile("anvil"), find_profile("monad")
assert ANVIL is not None
assert MONAD is not None


@pytest.mark.parametrize("name", RECEIPTS)
def test_published_receipts_are_read_to_the_wei(name: str) -> None:
    published: Published = RECEIPTS[name]
    profile = find_profile(published.chain)
    assert profile is not None
    receipt = read_receipt(published.receipt, published.receipt["transactionHash"])
    assert receipt is not None
    assert paid_by(21_000, COIN, profile, receipt) == NativeCost(published.fees, COIN)


def receipt_of(**said: Any) -> dict[str, Any]:
    return {
        "transactionHash": "0x" + "ab" * 32, "blockNumber": "0x10", "blockHash": "0x" + "cd" * 32, "status": "0x1",
        "gasUsed": "0x5208", "effectiveGasPrice": "0x3b9aca00",
    } | said  # fmt: skip


def read(**said: Any) -> MinedTransaction:
    found = read_receipt(receipt_of(**said), "0x" + "ab" * 32)
    assert found is not None
    return found


def test_the_bound_is_all_that_is_signed() -> None:
    for kind in range(5):
        expected = 100_000 * 3 * GWEI + (131_072 * 5 * GWEI if kind == 3 else 0)
        assert bound(decode(signed(kind)), ANVIL) == NativeCost(expected, COIN)
    assert bound(decode(signed()), ANVIL, uncapped_fees(100, 7)).fees == 100_000 * 3 * GWEI + 207


def test_monad_charges_the_limit() -> None:
    transaction = decode(signed(chainId=143, gas=90_000))
    receipt = read(gasUsed=hex(51_000))
    assert paid(transaction, MONAD, receipt) == NativeCost(90_000 * GWEI, COIN)
    assert paid(transaction, ANVIL, receipt) == NativeCost(51_000 * GWEI, COIN)
    assert paid(transaction, MONAD, receipt).within(bound(transaction, MONAD))


def test_a_reverted_transaction_pays_its_gas_and_moves_nothing() -> None:
    assert paid(decode(signed()), ANVIL, read(status="0x0")) == NativeCost(21_000 * GWEI, 0)


def test_an_op_stack_takes_its_operator_fee_by_version() -> None:
    assert operator_fee("isthmus", 1_000_001, 300, 400) == 300 + 400
    assert operator_fee("jovian", 21_000, 300, 400) == 21_000 * 300 * 100 + 400
    base = find_profile("base")
    assert base is not None
    receipt = read(l1Fee="0x64", operatorFeeScalar="0x2", operatorFeeConstant="0x3")
    assert paid_by(0, 0, base, receipt).fees == 21_000 * GWEI + 100 + 21_000 * 2 * 100 + 3
    with pytest.raises(ValueError, match="no l1Fee"):
        paid_by(0, 0, base, read())


def test_a_price_of_blobs_without_blobs_costs_nothing() -> None:
    assert read(blobGasPrice="0x1") == read()


@pytest.mark.parametrize(
    "broken",
    [
        {"transactionHash": "0x" + "ee" * 32}, {"transactionHash": None}, {"status": "0x2"}, {"status": None},
        {"status": True}, {"gasUsed": 21_000}, {"gasUsed": "21000"}, {"gasUsed": None}, {"gasUsed": "-0x1"},
        {"effectiveGasPrice": "0x"}, {"effectiveGasPrice": None}, {"blockNumber": None}, {"blockHash": "0xcd"},
        {"blobGasUsed": "0x20000"}, {"l1Fee": "none"}, {"operatorFeeScalar": "0x" + "f" * 17},
    ],
)  # fmt: skip
def test_a_broken_receipt_is_none(broken: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read(**broken)


@pytest.mark.parametrize("wrong", [[], "0x1", 5, True])
def test_a_receipt_is_an_object_or_nothing(wrong: object) -> None:
    with pytest.raises(ValueError, match="not an object"):
        read_receipt(wrong, "0x" + "ab" * 32)
    assert read_receipt(None, "0x" + "ab" * 32) is None


@pytest.mark.parametrize(
    ("profile", "raw", "problem"),
    [
        (ANVIL, signed(chainId=1), "is for eip155:1, not for anvil"),
        (MONAD, signed(3, chainId=143), "of type 3, which monad does not take"),
        (MONAD, signed(chainId=143, gas=30_000_001), "at most 30,000,000"),
    ],
)
def test_what_a_chain_does_not_take_is_refused(profile: ChainProfile, raw: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequestError, match=problem):
        bound(decode(raw), profile)


def test_dollars_are_rounded_up_and_never_by_a_float() -> None:
    assert to_nanos(1, Decimal(3000)) == 1, "less than a nano-dollar is one"
    assert to_nanos(0, Decimal(3000)) == 0
    assert to_nanos(COIN, Decimal("0.02")) == 20_000_000
    # 30 M gas at 1,000 gwei, which no double holds exactly
    assert to_nanos(30_000_000 * 1_000 * GWEI, Decimal("1.000000001")) == 30_000_000_030
    assert to_nanos(2**53 + 1, Decimal(10**8)) == 900_719_925_474_100
    with pytest.raises(InvalidRequestError, match="8,000,000 USD"):
        to_nanos(3 * 10**24, Decimal(3))


@settings(max_examples=50)
@given(st.integers(0, 10**21), st.integers(0, 10**21), st.decimals(0, 5000, places=8))
def test_what_is_paid_in_parts_is_never_less_than_in_one(one: int, other: int, price: Decimal) -> None:
    both = to_nanos(one + other, price)
    assert both <= to_nanos(one, price) + to_nanos(other, price) <= both + 1
    assert both <= MAX_NANOS


def test_each_chain_has_one_name_and_one_number() -> None:
    assert len({profile.id for profile in PROFILES}) == len({profile.name for profile in PROFILES}) == len(PROFILES)
    assert find_profile("EIP155:143") is find_profile("Monad") is MONAD
    assert MONAD.number == 143
    assert find_profile("eip155:999999") is None
    assert "did you mean monad?" in unknown_chain("monat", ("monad", "base")).message
