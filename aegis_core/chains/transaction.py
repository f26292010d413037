"""A transaction as its signed bytes say it: types 0 to 4, read whole and strictly, with the account that signed it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

from aegis_core.chains.hashing import keccak, rlp, signer
from aegis_core.chains.quantities import WORD
from aegis_core.protocol.errors import InvalidRequestError

MAX_BYTES = 131_072
"""The largest transaction that nodes take, without blobs."""
MAX_BLOB_BYTES = 1_310_720
"""The same with at most nine blobs beside it."""
BLOB_GAS = 131_072
"""What one blob uses of blob gas, whatever is in it."""
MAX_AUTHORIZATIONS = 64
"""Each is a signature to be checked, which takes long where `coincurve` is missing."""

_MOST_DEEP, _MOST_ITEMS = 6, 8_192
_UINT64 = 2**64 - 1
_DELEGATION = b"\x05"


@dataclass(frozen=True, slots=True)
class Authorization:
    """A delegation of an account to code (EIP-7702).

    Attributes:
        chain_id: where it holds; 0: on every chain.
        address: the code that the account runs from then on.
        nonce: the account's nonce at which it holds.
        authority: the account; None where the signature is nobody's, so that the chain passes it over.
    """

    chain_id: int
    address: str
    nonce: int
    authority: str | None


@dataclass(frozen=True, slots=True)
class EvmTransaction:
    """One transaction. Amounts are in the smallest unit (wei), addresses in lower case.

    Attributes:
        nonce: its place among the sender's; None while it is not chosen yet.
        to: None creates a contract.
        max_fee: the most for a unit of gas: ``maxFeePerGas``, or ``gasPrice``.
        hash: as nodes name it; None while it is not signed.
        size: bytes as signed, without blobs, for fees that go by size.
    """

    type: int
    chain_id: int
    sender: str
    nonce: int | None
    to: str | None
    value: int
    data: bytes
    gas: int
    max_fee: int
    priority_fee: int
    access_list: tuple[Any, ...] = ()
    authorizations: tuple[Authorization, ...] = ()
    authorization_list: tuple[Any, ...] = ()
    blob_hashes: tuple[bytes, ...] = ()
    max_blob_fee: int = 0
    hash: str | None = None
    size: int = field(default=0, compare=False)

    @property
    def core(self) -> str:
        """A hash of all that it does; a higher fee or another gas limit leaves it as it is."""
        nonce: Any = [] if self.nonce is None else _number(self.nonce)  # a list is no number
        parts = [
            _number(self.chain_id), _raw(self.sender), nonce, _raw(self.to), _number(self.value), self.data,
            list(self.access_list), list(self.authorization_list), list(self.blob_hashes),
        ]  # fmt: skip
        return "0x" + keccak(rlp().encode(parts)).hex()

    def at_any_nonce(self) -> EvmTransaction:
        """The same with its place among the sender's still to be chosen."""
        return replace(self, nonce=None)


def decode(raw: bytes) -> EvmTransaction:
    """Read signed bytes.

    Raises:
        InvalidRequestError: bytes that are not exactly one transaction of a known type, signed for a chain by a key.
        ConfigurationError: the extra ``chains`` is not installed.
    """
    if not raw:
        raise refused("is empty")
    kind = raw[0] if raw[0] < 0x80 else 0
    if kind not in _LAYOUTS:
        raise refused(f"is of type {kind}, which is not known here; types 0 to 4 are")
    most = MAX_BLOB_BYTES if kind == 3 else MAX_BYTES
    if len(raw) > most:
        raise refused(f"has {len(raw):,} bytes; nodes take at most {most:,}")
    library = rlp()
    payload = raw[1:] if kind else raw
    try:
        _check_shape(payload)
        items = library.decode(payload)
    except (library.exceptions.DecodingError, IndexError):
        raise refused("is not well-formed RLP, or is followed by more bytes") from None
    except ValueError as error:
        raise refused(str(error)) from None
    try:
        return _read(kind, items, raw)
    except ValueError as error:
        raise refused(str(error)) from None


def _check_shape(payload: bytes) -> None:
    """Refuse what no transaction needs, before a parser that recurses sees it."""
    header, at, count, ends = rlp().codec.consume_length_prefix, 0, 0, list[int]()
    while at < len(payload):
        _, kind, length, start = header(payload, at)
        count += 1
        while ends and at >= ends[-1]:
            ends.pop()
        if kind is list:
            ends.append(start + length)
        if len(ends) > _MOST_DEEP or count > _MOST_ITEMS:
            raise ValueError(f"has more than {_MOST_ITEMS:,} fields, or lists more than {_MOST_DEEP} deep")
        at = start if kind is list else start + length


_LAYOUTS: dict[int, tuple[str, ...]] = {
    0: ("nonce", "gasPrice", "gas", "to", "value", "data", "v", "r", "s"),
    1: ("chainId", "nonce", "gasPrice", "gas", "to", "value", "data", "accessList", "yParity", "r", "s"),
    2: (
        "chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "data", "accessList",
        "yParity", "r", "s",
    ),
    3: (
        "chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "data", "accessList",
        "maxFeePerBlobGas", "blobVersionedHashes", "yParity", "r", "s",
    ),
    4: (
        "chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas", "to", "value", "data", "accessList",
        "authorizationList", "yParity", "r", "s",
    ),
}  # fmt: skip
"""The fields of each type, in the order in which they are signed; behind them the signature."""


def _read(kind: int, items: Any, raw: bytes) -> EvmTransaction:
    if kind == 3 and (body := _without_blobs(items)) is not items:
        items, raw = body, b"\x03" + rlp().encode(body)  # nodes name it without its blobs
    layout = _LAYOUTS[kind]
    items = _list_of(items, len(layout), f"a transaction of type {kind}")
    said = dict(zip(layout, items, strict=True))
    chain, parity, signed = _signed(kind, items, said)
    sender = signer(keccak(signed), parity, _integer(said["r"], "r", WORD), _integer(said["s"], "s", WORD))
    max_fee, priority_fee = _fees(said)
    listed = _list_of(said.get("authorizationList", []), 0, "authorizationList")
    blobs = _list_of(said.get("blobVersionedHashes", []), 0, "blobVersionedHashes")
    to = _address(said["to"])
    if kind in {3, 4}:
        _check_newer(kind, to, blobs, listed)
    return EvmTransaction(
        type=kind, chain_id=chain, sender=sender, nonce=_nonce(said["nonce"]), to=to,
        value=_integer(said["value"], "value", WORD), data=_bytes(said["data"], "data"),
        gas=_integer(said["gas"], "gas", _UINT64), max_fee=max_fee, priority_fee=priority_fee,
        access_list=_access(said.get("accessList", [])), authorizations=tuple(map(_authorization, listed)),
        authorization_list=tuple(listed), blob_hashes=tuple(blobs),
        max_blob_fee=_integer(said.get("maxFeePerBlobGas", b""), "maxFeePerBlobGas", WORD),
        hash="0x" + keccak(raw).hex(), size=len(raw),
    )  # fmt: skip


def _signed(kind: int, items: list[Any], said: dict[str, Any]) -> tuple[int, int, bytes]:
    """The chain that it is signed for, the parity of its signature, and the bytes that were signed."""
    if kind:
        chain, parity = _integer(said["chainId"], "chainId", _UINT64), _integer(said["yParity"], "yParity", WORD)
        signed = bytes([kind]) + rlp().encode(items[:-3])
    else:
        v = _integer(said["v"], "v", WORD)
        if v in {27, 28}:
            raise ValueError("names no chain (v is 27 or 28), so it would hold on every chain; sign it with a chain id")
        chain, parity = divmod(v - 35, 2)
        if v < 35 or chain > _UINT64:
            raise ValueError(f"has v = {v}, which no signer makes")
        signed = rlp().encode([*items[:-3], _number(chain), b"", b""])
    if chain == 0:
        raise ValueError("names no chain (chain id 0), so it would hold on every chain; sign it with a chain id")
    return chain, parity, signed


def _without_blobs(items: Any) -> Any:
    """What is signed of a type 3; as it is sent, the blobs with commitments and proofs stand beside that."""
    network = _list_of(items, 0, "a transaction of type 3")
    if not network or not isinstance(network[0], list | tuple):
        return items
    versioned = len(network) == 5 and isinstance(network[1], bytes)
    if len(network) != 4 and not versioned:
        raise ValueError("is of type 3 with something else beside it than blobs, commitments and proofs")
    return cast("Any", network[0])


def _check_newer(kind: int, to: str | None, blobs: list[Any], authorizations: list[Any]) -> None:
    if to is None:
        raise ValueError(f"is of type {kind}, which cannot create a contract")
    if kind == 3 and (not blobs or any(_bytes(name, "blobVersionedHashes", 32)[0] != 1 for name in blobs)):
        raise ValueError("is of type 3 and names no blobs, or some of an unknown version")
    if kind == 4 and not 1 <= len(authorizations) <= MAX_AUTHORIZATIONS:
        raise ValueError(f"is of type 4 with {len(authorizations)} authorizations; 1 to {MAX_AUTHORIZATIONS} are read")


def _authorization(item: Any) -> Authorization:
    chain, code, nonce, parity, r, s = _list_of(item, 6, "an authorization")
    where, of = _integer(chain, "authorization chainId", WORD), _nonce(nonce)
    digest = keccak(_DELEGATION + rlp().encode([chain, code, nonce]))
    numbers = (_integer(parity, "yParity", 255), _integer(r, "r", WORD), _integer(s, "s", WORD))
    try:
        authority = signer(digest, *numbers)
    except ValueError:
        authority = None
    return Authorization(where, _address(code) or "", of, authority)


def _fees(said: dict[str, Any]) -> tuple[int, int]:
    """The most for a unit of gas, and how much of that is offered above the base fee."""
    if "gasPrice" in said:
        price = _integer(said["gasPrice"], "gasPrice", WORD)
        return price, price
    most = _integer(said["maxFeePerGas"], "maxFeePerGas", WORD)
    tip = _integer(said["maxPriorityFeePerGas"], "maxPriorityFeePerGas", WORD)
    if tip > most:
        raise ValueError("offers a priority fee above its whole fee, which nodes refuse")
    return most, tip


def _access(item: Any) -> tuple[Any, ...]:
    found: list[Any] = []
    for entry in _list_of(item, 0, "accessList"):
        address, keys = _list_of(entry, 2, "an entry of accessList")
        _bytes(address, "accessList", 20)
        found.append((address, tuple(_bytes(key, "accessList", 32) for key in _list_of(keys, 0, "accessList"))))
    return tuple(found)


def _list_of(item: Any, length: int, name: str) -> list[Any]:
    if not isinstance(item, list | tuple) or (length and len(cast("list[Any]", item)) != length):
        raise ValueError(f"does not have the fields of {name}")
    return list(cast("list[Any]", item))


def _bytes(item: Any, name: str, size: int | None = None) -> bytes:
    if not isinstance(item, bytes) or (size is not None and len(item) != size):
        raise ValueError(f"has a field {name} of the wrong form")
    return item


def _integer(item: Any, name: str, most: int) -> int:
    found = _bytes(item, name)
    if found[:1] == b"\0" or len(found) > 32:
        raise ValueError(f"has a number {name} with leading zeros, or of more than 32 bytes")
    number = int.from_bytes(found)
    if number > most:
        raise ValueError(f"has a number {name} above {most:#x}")
    return number


def _nonce(item: Any) -> int:
    return _integer(item, "nonce", _UINT64 - 1)


def _address(item: Any) -> str | None:
    found = _bytes(item, "to")
    if len(found) not in {0, 20}:
        raise ValueError("has an address that is not of 20 bytes")
    return "0x" + found.hex() if found else None


def _number(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8)


def _raw(address: str | None) -> bytes:
    return bytes.fromhex(address[2:]) if address else b""


def refused(problem: str) -> InvalidRequestError:
    """The error for a transaction, of which `problem` says what it does or is."""
    return InvalidRequestError(f"transaction: {problem}", field="transaction", problem=f"the transaction {problem}")
