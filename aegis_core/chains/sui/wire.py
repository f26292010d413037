"""A transaction of Sui as its bytes say it (`TransactionData`, version 1), with the signatures behind them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, cast

from aegis_core.chains.solana.base58 import encode
from aegis_core.chains.sui.bcs import BcsReader
from aegis_core.chains.transaction import refused
from aegis_core.protocol.distribution import installing
from aegis_core.protocol.errors import ConfigurationError

MAX_BYTES = 131_072 + 16_384
"""The largest transaction that nodes take, and signatures."""
_HEAD, _INTENT = b"\1\0\0\0", bytes(3)
_MOST_DEEP = 16
_GAS_COIN, _INPUT, _RESULT, _NESTED = range(4)
_MOVE_CALL, _TRANSFER, _SPLIT, _MERGE, _PUBLISH, _MAKE_VECTOR, _UPGRADE = range(7)
_ED25519, _ED25519_SIZE = 0, 97
_U64, _ADDRESS = 8, 32

Argument = tuple[int, ...]
"""What a command works on: its kind, and its place."""


@dataclass(frozen=True, slots=True)
class Command:
    """One step of a programmable transaction. `function`: ``package::module::function`` of a call."""

    kind: int
    function: str | None = None
    arguments: tuple[Argument, ...] = ()
    target: Argument | None = None


@dataclass(frozen=True, slots=True)
class SuiTransaction:
    """One transaction. Addresses are written out in lower case.

    Attributes:
        data: the bytes that are signed; `signatures`: as they stand behind them.
        digest: as nodes name it, known before it is signed.
        core: a hash of all that it does: of sender and commands, without gas and expiration.
        pure: the inputs that are plain bytes, by their place.
        gas_coins: the versions of the objects that pay for gas, by their ids.
        epoch: the last in which it may run; None: it has no end but the use of its gas coins.
    """

    data: bytes
    signatures: tuple[bytes, ...]
    digest: str
    core: str
    sender: str
    pure: dict[int, bytes]
    commands: tuple[Command, ...]
    gas_coins: dict[str, int]
    owner: str
    price: int
    budget: int
    epoch: int | None

    @property
    def calls(self) -> tuple[str, ...]:
        """The functions that it calls."""
        return tuple(dict.fromkeys(each.function for each in self.commands if each.function))

    @property
    def creates(self) -> bool:
        """Whether it publishes or upgrades a package."""
        return any(each.kind in {_PUBLISH, _UPGRADE} for each in self.commands)

    @property
    def recipients(self) -> tuple[str | None, ...]:
        """Whom it gives objects, and the packages that it calls; None: nobody can tell whom."""
        found: dict[str | None, None] = {}
        for each in self.commands:
            if each.target is not None:
                raw = self.pure.get(each.target[1], b"") if each.target[0] == _INPUT else b""
                found["0x" + raw.hex() if len(raw) == _ADDRESS else None] = None
            elif each.function is not None:
                found[each.function.partition("::")[0]] = None
        return tuple(found)

    @property
    def from_gas(self) -> int | None:
        """MIST that it splits from its gas coin to give away, where that is all it does; None: it does something
        else, or more than can be told."""
        split = dict[int, int | None]()
        for place, each in enumerate(self.commands):
            if each.kind == _SPLIT and each.arguments[0] == (_GAS_COIN,):
                split[place] = self._sum(each.arguments[1:])
            elif each.kind != _TRANSFER or any(
                given[0] not in {_RESULT, _NESTED} or given[1] not in split for given in each.arguments
            ):
                return None
        return None if None in split.values() else sum(amount or 0 for amount in split.values())

    def _sum(self, amounts: tuple[Argument, ...]) -> int | None:
        raws = [self.pure.get(each[1], b"") if each[0] == _INPUT else b"" for each in amounts]
        return sum(int.from_bytes(raw, "little") for raw in raws) if all(len(raw) == _U64 for raw in raws) else None


def signed(data: bytes, signatures: tuple[bytes, ...] = ()) -> bytes:
    """The bytes of a transaction with its signatures behind them, as nodes keep it (`SenderSignedData`)."""
    behind = b"".join(_length(len(each)) + each for each in signatures)
    return _HEAD + data + _length(len(signatures)) + behind


def decode(raw: bytes) -> SuiTransaction:
    """Read a transaction with its signatures, of which there may be none yet.

    Raises:
        InvalidRequestError: the bytes are not exactly one transaction of a known form.
    """
    if len(raw) > MAX_BYTES:
        raise refused(f"has {len(raw):,} bytes; nodes take at most {MAX_BYTES:,}")
    try:
        if raw[: len(_HEAD)] != _HEAD:
            raise ValueError("does not begin as one transaction of Sui does")
        reader = BcsReader(raw[len(_HEAD) :])
        found = read_data(reader)
        signatures = tuple(reader.counted() for _ in range(reader.count()))
        reader.end()
    except ValueError as error:
        raise refused(str(error)) from None
    return SuiTransaction(raw[len(_HEAD) :][: found.pop("end")], signatures, **found)


def read_data(reader: BcsReader) -> dict[str, Any]:
    """The fields of `SuiTransaction` out of the bytes of ``TransactionData``; `end`: where those end.

    Raises:
        ValueError: they are of another form.
    """
    if reader.length() != 0 or reader.length() != 0:
        raise ValueError("is of a version or kind that agents do not send")
    pure = {place: value for place in range(reader.count()) if (value := _input(reader)) is not None}
    commands = tuple(_command(reader) for _ in range(reader.count()))
    sender = reader.address()
    body = reader.at
    coins = dict(_object(reader) for _ in range(reader.count()))
    if not coins:
        raise ValueError("names no coin that pays for gas")
    owner, price, budget = reader.address(), reader.number(8), reader.number(8)
    expires = reader.length()
    if expires > 1:
        raise ValueError("expires in a way that is not known here")
    epoch = reader.number(8) if expires else None
    content = reader.read_so_far()
    return {
        "end": len(content), "digest": encode(_hash(b"TransactionData::" + content)),
        "core": _hash(content[:body]).hex(), "sender": sender, "pure": pure, "commands": commands,
        "gas_coins": coins, "owner": owner, "price": price, "budget": budget, "epoch": epoch,
    }  # fmt: skip


def _input(reader: BcsReader) -> bytes | None:
    kind = reader.length()
    if kind == 0:
        return reader.counted()
    if kind != 1:
        raise ValueError("takes from the balance of an address, which is not read here")
    form = reader.length()
    if form in {0, 2}:
        _object(reader)
    elif form == 1:
        reader.take(_ADDRESS + 8)
        if reader.number(1) > 1:
            raise ValueError("shares an object in a way that is not known here")
    else:
        raise ValueError("has an input that is not known here")
    return None


def _object(reader: BcsReader) -> tuple[str, int]:
    name, version = reader.address(), reader.number(8)
    if len(reader.counted()) != _ADDRESS:
        raise ValueError("has a digest that is none")
    return name, version


def _command(reader: BcsReader) -> Command:
    kind = reader.length()
    if kind == _MOVE_CALL:
        function = f"{reader.address()}::{reader.text()}::{reader.text()}"
        for _ in range(reader.count()):
            _type(reader, 0)
        return Command(kind, function, _arguments(reader))
    if kind == _TRANSFER:
        return Command(kind, None, _arguments(reader), _argument(reader))
    if kind in {_SPLIT, _MERGE}:
        return Command(kind, None, (_argument(reader), *_arguments(reader)))
    if kind == _MAKE_VECTOR:
        if _flag(reader):
            _type(reader, 0)
        return Command(kind, None, _arguments(reader))
    if kind in {_PUBLISH, _UPGRADE}:
        for _ in range(reader.count()):
            reader.counted()
        for _ in range(reader.count()):
            reader.address()
        return Command(kind, None, ()) if kind == _PUBLISH else Command(kind, None, _upgraded(reader))
    raise ValueError("has a command that is not known here")


def _upgraded(reader: BcsReader) -> tuple[Argument, ...]:
    reader.address()
    return (_argument(reader),)


def _arguments(reader: BcsReader) -> tuple[Argument, ...]:
    return tuple(_argument(reader) for _ in range(reader.count()))


def _argument(reader: BcsReader) -> Argument:
    kind = reader.length()
    if kind > _NESTED:
        raise ValueError("has an argument that is not known here")
    return kind, *(reader.number(2) for _ in range((0, 1, 1, 2)[kind]))


def _type(reader: BcsReader, deep: int) -> None:
    kind = reader.length()
    if kind > 10 or deep > _MOST_DEEP:
        raise ValueError("has a type that is not known here")
    if kind == 6:
        _type(reader, deep + 1)
    elif kind == 7:
        reader.address()
        reader.text()
        reader.text()
        for _ in range(reader.count()):
            _type(reader, deep + 1)


def _flag(reader: BcsReader) -> bool:
    found = reader.number(1)
    if found > 1:
        raise ValueError("has a mark that is neither there nor missing")
    return found == 1


def check_signatures(transaction: SuiTransaction) -> None:
    """See that sender and payer signed it. Keys of the curve Ed25519 are checked here, all others by nodes.

    Raises:
        InvalidRequestError: a signature is missing, or is of somebody or something else.
        ConfigurationError: the extra ``chains`` is not installed.
    """
    signers = {transaction.sender, transaction.owner}
    if len(transaction.signatures) != len(signers):
        raise refused(f"carries {len(transaction.signatures)} signatures for {len(signers)} signers")
    for each in transaction.signatures:
        if not each or each[0] != _ED25519:
            continue
        key = each[-32:]
        if len(each) != _ED25519_SIZE or "0x" + _hash(bytes([_ED25519]) + key).hex() not in signers:
            raise refused("is signed by somebody else than its sender and who pays")
        if not _verified(key, each[1:65], _hash(_INTENT + transaction.data)):
            raise refused("has a signature of something else")


def _verified(key: bytes, signature: bytes, message: bytes) -> bool:
    from importlib import import_module

    try:
        kind = cast("Any", import_module("solders.signature")).Signature
        return bool(kind(signature).verify(cast("Any", import_module("solders.pubkey")).Pubkey(key), message))
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"Transactions of Sui need the extra `chains` (solders is missing): {installing('chains')}"
        ) from None


def _hash(content: bytes) -> bytes:
    return blake2b(content, digest_size=32).digest()


def _length(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
