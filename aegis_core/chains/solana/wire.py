"""A Solana transaction as its bytes say it: legacy and version 0, read whole and strictly."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

from aegis_core.chains.solana.base58 import encode
from aegis_core.chains.transaction import refused
from aegis_core.protocol.distribution import installing
from aegis_core.protocol.errors import ConfigurationError

MAX_BYTES = 1_232
"""The largest transaction that nodes take."""
_KEY, _SIGNATURE = 32, 64
_VERSIONED = 0x80


@dataclass(frozen=True, slots=True)
class Instruction:
    """One call. `accounts` are places in the keys of the transaction, which lookups may add to."""

    program: str
    accounts: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Lookup:
    """Keys that stand in a table on the chain: places in it, of those to be written and those to be read."""

    table: str
    writable: tuple[int, ...]
    readonly: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SolanaTransaction:
    """One transaction. Accounts are base58.

    Attributes:
        version: None for a legacy one.
        signatures: one for each signer, in the order of `keys`; zeros where it is not given yet.
        signers: how many of the first `keys` must sign; the first pays the fee.
        readonly_signers, readonly_others: how many of the signers, and of the others, are only read.
        keys: those that stand in the message.
        blockhash: it can land as long as that is recent; or the value of a durable nonce.
        message: the bytes that are signed.
        core: a hash of all that it does: of the message without the blockhash.
    """

    version: int | None
    signatures: tuple[bytes, ...]
    signers: int
    readonly_signers: int
    readonly_others: int
    keys: tuple[str, ...]
    blockhash: str
    instructions: tuple[Instruction, ...]
    lookups: tuple[Lookup, ...]
    message: bytes
    core: str

    @property
    def payer(self) -> str:
        """Who pays the fee."""
        return self.keys[0]

    @property
    def hash(self) -> str:
        """A hash of the message, which is the same before and after it is signed. It lands once at most."""
        return encode(sha256(self.message).digest())

    @property
    def signature(self) -> str:
        """The first signature, by which nodes name it."""
        return encode(self.signatures[0])

    @property
    def signed(self) -> bool:
        """Whether every signature is there."""
        return all(any(each) for each in self.signatures)

    def writable(self, place: int) -> bool:
        """Whether a key of the message may be written."""
        if place < self.signers:
            return place < self.signers - self.readonly_signers
        return place < len(self.keys) - self.readonly_others

    @property
    def writable_keys(self) -> tuple[str, ...]:
        """The keys of the message that may be written."""
        return tuple(key for place, key in enumerate(self.keys) if self.writable(place))


def decode(raw: bytes) -> SolanaTransaction:
    """Read the bytes of a transaction, whose signatures may still be zeros.

    Raises:
        InvalidRequestError: they are not exactly one transaction of a known version.
    """
    if not raw:
        raise refused("is empty")
    if len(raw) > MAX_BYTES:
        raise refused(f"has {len(raw):,} bytes; nodes take at most {MAX_BYTES:,}")
    try:
        return _read(_Reader(raw))
    except ValueError as error:
        raise refused(str(error)) from None


def check_signatures(transaction: SolanaTransaction) -> None:
    """See that every signer signed this message.

    Raises:
        InvalidRequestError: a signature is missing, or of something else.
        ConfigurationError: the extra ``chains`` is not installed.
    """
    library = _solders()
    for key, signature in zip(transaction.keys, transaction.signatures, strict=False):
        if not any(signature):
            raise refused(f"is not signed by {key} yet")
        if not library["Signature"](signature).verify(library["Pubkey"].from_string(key), transaction.message):
            raise refused(f"has a signature that {key} did not make of it")


def _solders() -> dict[str, Any]:
    from importlib import import_module

    try:
        return {
            "Signature": cast("Any", import_module("solders.signature")).Signature,
            "Pubkey": cast("Any", import_module("solders.pubkey")).Pubkey,
        }
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"Transactions of Solana need the extra `chains` (solders is missing): {installing('chains')}"
        ) from None


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw, self.at = raw, 0

    def take(self, size: int) -> bytes:
        found = self._raw[self.at : self.at + size]
        if len(found) != size:
            raise ValueError("ends in the middle")
        self.at += size
        return found

    def byte(self) -> int:
        return self.take(1)[0]

    def count(self) -> int:
        """A number of one to three bytes, in its only right form."""
        number = 0
        for at in range(3):
            byte = self.byte()
            number |= (byte & 0x7F) << (7 * at)
            if not byte & 0x80:
                if (at and not byte) or number > 0xFFFF:
                    break
                return number
        raise ValueError("has a length that is not written in its only right form")

    def rest(self) -> bytes:
        return self._raw[self.at :]


def _read(reader: _Reader) -> SolanaTransaction:
    signatures = tuple(reader.take(_SIGNATURE) for _ in range(reader.count()))
    message, first = reader.rest(), reader.byte()
    version = None
    if first & _VERSIONED:
        version, first = first & 0x7F, reader.byte()
        if version:
            raise ValueError(f"is of version {version}, which is not known here; legacy ones and version 0 are")
    header = (first, reader.byte(), reader.byte())
    keys = tuple(encode(reader.take(_KEY)) for _ in range(reader.count()))
    _check_header(header, len(signatures), keys)
    before, blockhash = len(message) - len(reader.rest()), reader.take(_KEY)
    calls = [(reader.byte(), tuple(reader.take(reader.count())), reader.take(reader.count()))
             for _ in range(reader.count())]  # fmt: skip
    lookups = tuple(
        Lookup(encode(reader.take(_KEY)), tuple(reader.take(reader.count())), tuple(reader.take(reader.count())))
        for _ in range(0 if version is None else reader.count())
    )
    if reader.rest():
        raise ValueError("is followed by more bytes")
    total = len(keys) + sum(len(each.writable) + len(each.readonly) for each in lookups)
    for program, accounts, _ in calls:
        if not 0 < program < len(keys) or any(place >= total for place in accounts):
            raise ValueError("calls a program or an account that it does not list")
    if total > 256 or any(not each.writable and not each.readonly for each in lookups):
        raise ValueError("looks up nothing in a table, or more than 256 accounts in all")
    core = sha256(message[:before] + bytes(_KEY) + message[before + _KEY :]).hexdigest()
    return SolanaTransaction(
        version, signatures, *header, keys, encode(blockhash),
        tuple(Instruction(keys[program], accounts, data) for program, accounts, data in calls), lookups, message, core,
    )  # fmt: skip


def _check_header(header: tuple[int, int, int], signatures: int, keys: tuple[str, ...]) -> None:
    signers, readonly_signers, readonly_others = header
    if not 0 < signers == signatures:
        raise ValueError(f"carries {signatures} signatures for {signers} signers")
    if readonly_signers >= signers or signers + readonly_others > len(keys):
        raise ValueError("has a header that does not fit its accounts")
    if len(set(keys)) != len(keys):
        raise ValueError("lists an account twice")
