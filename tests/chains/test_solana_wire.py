"""The bytes of Solana's transactions: read whole and strictly, whatever somebody made of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from litesvm import Solana, as_version_0, new_table, pay
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.pubkey import Pubkey

from aegis_core.chains.solana import base58
from aegis_core.chains.solana.fees import budget_of
from aegis_core.chains.solana.wire import check_signatures, decode
from aegis_core.errors import InvalidRequestError

CHAIN = Solana()
ME = CHAIN.account()
TARGET = Pubkey.new_unique()
CALLS = [set_compute_unit_price(7), pay(ME.pubkey(), TARGET, 10**6)]
LEGACY = CHAIN.signed(CALLS, ME)
NEWER = as_version_0(LEGACY, ME, CALLS, [new_table(CHAIN, TARGET)])


@pytest.mark.parametrize("raw", [LEGACY, NEWER])
def test_it_is_read_as_it_was_written_and_in_no_other_form(raw: bytes) -> None:
    found = decode(raw)
    check_signatures(found)
    assert (found.payer, found.version) == (str(ME.pubkey()), None if raw == LEGACY else 0)
    assert found.blockhash == str(CHAIN.svm.latest_blockhash())
    accepted = 0
    for end in range(len(raw)):
        with pytest.raises(InvalidRequestError):
            decode(raw[:end])
    for more in (b"\0", b"\1" * 9, raw):
        with pytest.raises(InvalidRequestError):
            decode(raw + more)
    for place in range(len(raw)):  # of what is accepted none is taken for this one, and none holds as signed
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        try:
            other = decode(changed)
        except InvalidRequestError:
            continue
        accepted += 1
        assert (other.hash, other.signatures) != (found.hash, found.signatures)
        if other.signers == 1:
            with pytest.raises(InvalidRequestError):
                check_signatures(other)
    assert accepted > 64


@settings(max_examples=300)
@given(st.binary(max_size=400) | st.integers(0, 2**32).map(lambda seed: mangled(random.Random(seed))))
def test_whatever_comes_is_read_or_refused(raw: bytes) -> None:
    try:
        found = decode(raw)
        budget_of(found)
    except InvalidRequestError:
        return
    assert raw.endswith(found.message)


def mangled(choice: random.Random) -> bytes:
    raw = bytearray(choice.choice([LEGACY, NEWER]))
    for _ in range(choice.randrange(1, 4)):
        raw[choice.randrange(len(raw))] = choice.randrange(256)
    return bytes(raw)


def test_other_versions_and_two_budgets_are_refused() -> None:
    message = bytearray(NEWER)
    assert message[65] == 0x80
    message[65] = 0x81
    with pytest.raises(InvalidRequestError, match="is of version 1, which is not known"):
        decode(bytes(message))
    twice = CHAIN.signed([set_compute_unit_limit(1), set_compute_unit_limit(2)], ME)
    with pytest.raises(InvalidRequestError, match="sets its compute budget twice"):
        budget_of(decode(twice))
    with pytest.raises(InvalidRequestError, match="has 2,000 bytes"):
        decode(bytes(2_000))


def test_the_core_leaves_only_the_blockhash_out() -> None:
    first = decode(CHAIN.signed(CALLS, ME))
    CHAIN.expire()
    second = decode(CHAIN.signed(CALLS, ME))
    assert (first.core, first.hash != second.hash) == (second.core, True)
    assert decode(CHAIN.signed([*CALLS, CALLS[0]], ME)).core != first.core


@given(st.binary(max_size=64))
def test_base58_is_what_others_write(content: bytes) -> None:
    assert base58.decode_any(base58.encode(content)) == content
    if len(content) == 32:
        assert base58.encode(content) == str(Pubkey(content))
