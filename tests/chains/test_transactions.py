"""Signed bytes are read as the chain reads them, and anything else is refused with a sentence."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import pytest
import rlp
from eth_account import Account
from eth_utils import keccak  # pyright: ignore[reportUnknownVariableType]
from hypothesis import given, settings
from hypothesis import strategies as st
from signing import ALICE, BLOB_NAME, BOB, CAROL, COIN, GWEI, delegation, fields, signed

from aegis_core.chains import hashing
from aegis_core.chains.quantities import address, checksummed, quantity
from aegis_core.chains.transaction import MAX_BYTES, EvmTransaction, decode
from aegis_core.protocol.errors import ConfigurationError, InvalidRequestError

HALF = hashing.ORDER // 2


@pytest.mark.parametrize("kind", range(5))
def test_every_type_is_read_whole(kind: int) -> None:
    raw = signed(kind, nonce=7, data="0xa9059cbb")
    found = decode(raw)
    assert found.type == kind
    assert found.sender == ALICE.address.lower() == Account.recover_transaction(raw).lower()
    assert (found.chain_id, found.nonce, found.to, found.value) == (31337, 7, BOB.address.lower(), COIN)
    assert (found.data, found.gas, found.max_fee) == (bytes.fromhex("a9059cbb"), 100_000, 3 * GWEI)
    assert found.hash == "0x" + keccak(raw).hex()
    assert found.blob_hashes == ((bytes.fromhex(BLOB_NAME[2:]),) if kind == 3 else ())
    assert [each.authority for each in found.authorizations] == ([CAROL.address.lower()] if kind == 4 else [])


def test_creation_has_no_receiver() -> None:
    assert decode(signed(2, to=b"", data="0x60006000fd")).to is None


def test_blobs_beside_a_transaction_do_not_change_its_name() -> None:
    raw = signed(3)
    body: Any = rlp.decode(raw[1:])
    for network in ([body, [b"blob"], [b"commitment"], [b"proof"]], [body, b"\x01", [b"blob"], [b"c"], [b"p"]]):
        found = decode(b"\x03" + rlp.encode(network))
        assert found == decode(raw)
        assert found.hash == "0x" + keccak(raw).hex()
    with pytest.raises(InvalidRequestError, match="something else beside it"):
        decode(b"\x03" + rlp.encode([body, [b"blob"]]))


def changed(raw: bytes, **said: Any) -> bytes:
    """The same bytes with some fields exchanged, by their place from the end."""
    items: Any = list(rlp.decode(raw[1:]))
    for place, value in said.items():
        items[-int(place[1:])] = value
    return raw[:1] + rlp.encode(items)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "is empty"),
        (b"\x02", "not well-formed"),
        (b"\x05" + signed()[1:], "of type 5"),
        (b"\x7f" + signed()[1:], "of type 127"),
        (signed() + b"\0", "followed by more bytes"),
        (signed()[:-1], "not well-formed"),
        (b"\x02" + b"\xc1" * 130_000, "lists more than 6 deep"),
        (b"\x02" + rlp.encode([b""] * 130_000), "more than 8,192 fields"),
        (b"\x02" + rlp.encode([b""] * 11), "does not have the fields"),
        (b"\x02" + rlp.encode(b"text"), "does not have the fields"),
        (b"\x02" + bytes(MAX_BYTES), "nodes take at most 131,072"),
        (changed(signed(), _11=b"\0\x07"), "leading zeros"),
        (changed(signed(), _11=b"\xff" * 8), "a number nonce above"),
        (changed(signed(), _8=b"\x01" * 9), "a number gas above"),
        (changed(signed(), _7=b"\x01" * 19), "an address that is not of 20 bytes"),
        (changed(signed(), _4=[[b"\x01" * 19, []]]), "a field accessList of the wrong form"),
        (changed(signed(), _1=b"", _2=b""), "a signature that no key can have made"),
        (changed(signed(), _1=b"\xff" * 32), "a signature that no key can have made"),
        (changed(signed(), _3=b"\x02"), "a signature that no key can have made"),
        (changed(signed(), _12=b""), "names no chain"),
        (signed(maxPriorityFeePerGas=4 * GWEI), "priority fee above its whole fee"),
        (changed(signed(3), _4=[]), "names no blobs"),
        (changed(signed(3), _4=[b"\x02" + bytes(31)]), "of an unknown version"),
        (changed(signed(4), _4=[]), "of type 4 with 0 authorizations"),
        (signed(4, authorizationList=[delegation(CAROL)] * 65), "1 to 64 are read"),
    ],
)
def test_anything_else_is_refused(raw: bytes, problem: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(problem)) as refused:
        decode(raw)
    assert refused.value.field == "transaction"


def test_a_mirrored_signature_is_refused_though_it_names_the_same_sender() -> None:
    raw = signed()
    items: Any = rlp.decode(raw[1:])
    s, parity = int.from_bytes(items[-1]), int.from_bytes(items[-3])
    assert s <= HALF
    twin = changed(raw, _1=(hashing.ORDER - s).to_bytes(32), _3=b"" if parity else b"\x01")
    assert Account.recover_transaction(twin) == ALICE.address
    with pytest.raises(InvalidRequestError, match="a high s"):
        decode(twin)


def test_a_legacy_transaction_for_every_chain_is_refused() -> None:
    said = fields(0)
    del said["chainId"]
    with pytest.raises(InvalidRequestError, match="would hold on every chain"):
        decode(bytes(ALICE.sign_transaction(said).raw_transaction))


def test_a_broken_signature_names_another_sender() -> None:
    raw = bytearray(signed())
    raw[-1] ^= 1
    assert decode(bytes(raw)).sender != ALICE.address.lower()


def test_an_authorization_of_nobody_is_no_account() -> None:
    raw = signed(4)
    items: Any = rlp.decode(raw[1:])
    listed = [[*items[-4][0][:5], b"\xff" * 32]]
    digest = keccak(b"\x04" + rlp.encode([*items[:-4], listed]))
    anew = ALICE.unsafe_sign_hash(digest)
    numbers = [n.to_bytes((n.bit_length() + 7) // 8) for n in (anew.v - 27, anew.r, anew.s)]
    found = decode(b"\x04" + rlp.encode([*items[:-4], listed, *numbers]))
    assert found.sender == ALICE.address.lower()
    assert found.authorizations[0].authority is None


def test_a_higher_fee_keeps_the_core_and_another_act_does_not() -> None:
    plain = decode(signed())
    assert decode(signed(maxFeePerGas=9 * GWEI, gas=200_000)).core == plain.core
    assert decode(signed(0)).core == plain.core, "the type is about fees, too"
    others = [
        signed(value=COIN + 1), signed(to=CAROL.address), signed(data="0x00"), signed(nonce=1), signed(chainId=1),
        signed(account=BOB), signed(3), signed(4), signed(1),
    ]  # fmt: skip
    cores = {decode(raw).core for raw in others}
    assert len(cores) == len(others)
    assert plain.core not in cores
    assert plain.at_any_nonce().core == decode(signed(nonce=1)).at_any_nonce().core != plain.core
    assert decode(signed(nonce=int.from_bytes(b"none"))).core != plain.at_any_nonce().core


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_no_bytes_do_anything_but_decode_or_be_refused(raw: bytes) -> None:
    for start in (b"", b"\x01", b"\x02", b"\x03", b"\x04"):
        with suppress(InvalidRequestError):
            assert isinstance(decode(start + raw), EvmTransaction)


OF_EACH_TYPE = [signed(kind) for kind in range(5)]


@settings(max_examples=60)
@given(st.sampled_from(OF_EACH_TYPE), st.integers(0, 500), st.integers(0, 255))
def test_one_changed_byte_is_refused_or_reads_as_something_else(raw: bytes, at: int, byte: int) -> None:
    at %= len(raw)
    other = raw[:at] + bytes([byte]) + raw[at + 1 :]
    try:
        found = decode(other)
    except InvalidRequestError:
        return
    assert (found == decode(raw)) == (other == raw)


@pytest.mark.parametrize(
    "wrong",
    [None, 5, 1.5, True, "5", "0x", "0x05", "0X5", "-0x5", "0x 5", "0xg", "0x" + "f" * 65, "NaN", [], {}, b"0x5"],
)
def test_a_number_has_one_form(wrong: object) -> None:
    with pytest.raises(ValueError, match="not a hexadecimal number"):
        quantity(wrong, "gasUsed")
    assert quantity("0x5", "gasUsed") == 5
    with pytest.raises(ValueError, match="above"):
        quantity("0x20000000000001", "baseFeePerGas", most=2**53)


def test_a_mistyped_address_is_found_by_its_checksum() -> None:
    assert checksummed(ALICE.address.lower()) == ALICE.address
    assert address(ALICE.address, "to") == ALICE.address.lower()
    assert address(ALICE.address.lower(), "to") == ALICE.address.lower()
    assert address("0x" + ALICE.address[2:].upper(), "to") == ALICE.address.lower()
    mistyped = ALICE.address[:-1] + "5"
    with pytest.raises(InvalidRequestError, match="wrong checksum"):
        address(mistyped, "to")
    with pytest.raises(InvalidRequestError, match="not an address"):
        address(ALICE.address[:-1], "to")


def test_without_the_extra_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = signed()
    monkeypatch.setitem(__import__("sys").modules, "rlp", None)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[chains\]' in a checkout"):
        decode(raw)
