"""What the instructions of well-known programs say by themselves: whom they pay, what they may let others do."""

from __future__ import annotations

from dataclasses import dataclass

from aegis_core.chains.solana.fees import COMPUTE_BUDGET, PRECOMPILES
from aegis_core.chains.solana.wire import Instruction, SolanaTransaction

SYSTEM = "11111111111111111111111111111111"
TOKENS = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
NEWER_TOKENS = "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"
ASSOCIATED = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL"
_MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
_LOADERS = frozenset({
    "BPFLoader1111111111111111111111111111111111", "BPFLoader2111111111111111111111111111111111",
    "BPFLoaderUpgradeab1e11111111111111111111111", "LoaderV411111111111111111111111111111111111",
})  # fmt: skip
TIP_ACCOUNTS = frozenset({
    "96gYZGLnJYVFmbjzopPSU6QiEV5fGqZNyN9nmNhvrZU5", "HFqU5x63VTqvQss8hp11i4wVV8bD44PvwucfZ2bU7gRe",
    "Cw8CFyM9FkoMi7K7Crf6HNQqf4uEMzpKw6QNghXLvLkY", "ADaUMid9yfUytqMBgopwjb2DTLSokTSzL1zt6iGPaS49",
    "DfXygSm4jCyNCybVYYK6DwvWqjKee8pbDmJGcLWNDXjh", "ADuUkR4vqLUMWXxW9gh6D6L8pMSawimctcNZ5pGwDcEt",
    "DttWaMuVvTiduZRnguLF7jNxTgiMBZ1hyAumKUiL2KRL", "3AVi9Tg9Uo68tJfuvoKvqKNWKkC5wPdSSdeBnizKZ6jT",
})  # fmt: skip
"""Where Jito takes tips (jito-foundation.gitbook.io, on-chain addresses)."""

_CREATE, _ASSIGN, _TRANSFER, _CREATE_WITH_SEED, _ADVANCE, _WITHDRAW_NONCE = 0, 1, 2, 3, 4, 5
_ASSIGN_WITH_SEED, _TRANSFER_WITH_SEED = 10, 11
_DISCRIMINATOR = {SYSTEM: 4, TOKENS: 1, NEWER_TOKENS: 1, ASSOCIATED: 1, COMPUTE_BUDGET: 1, **dict.fromkeys(_LOADERS, 4)}
_ANCHOR = 8
_TOKEN_TRANSFER, _TOKEN_TRANSFER_CHECKED, _TOKEN_CLOSE = 3, 12, 9
_MAX_SEED = 32


@dataclass(frozen=True, slots=True)
class Payment:
    """Lamports that leave `source` for `target` by what is signed, rent of new accounts among them."""

    source: str | None
    target: str | None
    lamports: int


def method_of(call: Instruction) -> str:
    """A program and the first bytes of its data, by which it tells its instructions apart: ``program:0x02000000``."""
    return f"{call.program}:0x{call.data[: _DISCRIMINATOR.get(call.program, _ANCHOR)].hex()}"


def puts_code(program: str) -> bool:
    """Whether a program puts code on the chain: all that a loader does counts."""
    return program in _LOADERS


def durable_nonce(transaction: SolanaTransaction) -> str | None:
    """The nonce account by which a transaction stays valid without an end; None where it expires with its blockhash."""
    call = transaction.instructions[0] if transaction.instructions else None
    if call is None or call.program != SYSTEM or _kind(call) != _ADVANCE or not call.accounts:
        return None
    return _key_at(transaction.keys, call.accounts[0]) or ""


def _key_at(keys: tuple[str, ...], place: int) -> str | None:
    return keys[place] if place < len(keys) else None


def payments(transaction: SolanaTransaction, keys: tuple[str, ...]) -> list[Payment]:
    """What the instructions of the system program move. `keys`: as of `recipients`."""
    found: list[Payment] = []
    for call in transaction.instructions:
        if call.program != SYSTEM:
            continue
        kind, named = _kind(call), [*(_key_at(keys, place) for place in call.accounts), None, None, None]
        if kind in {_CREATE, _TRANSFER, _WITHDRAW_NONCE, _TRANSFER_WITH_SEED}:
            found.append(Payment(named[0], named[2 if kind == _TRANSFER_WITH_SEED else 1], _number(call.data, 4)))
        elif kind == _CREATE_WITH_SEED:
            # A base of 32 bytes, a seed with its length before it, then the lamports.
            length = _number(call.data, 36)
            found.append(Payment(named[0], named[1], _number(call.data, 44 + min(length, _MAX_SEED))))
    return found


def tips(transaction: SolanaTransaction) -> int:
    """Lamports for Jito's block builders, which are plain payments."""
    return sum(each.lamports for each in payments(transaction, transaction.keys) if each.target in TIP_ACCOUNTS)


def assigns(transaction: SolanaTransaction, wallet: str) -> bool:
    """Whether it gives the wallet itself to a program."""
    return any(
        call.program == SYSTEM and _kind(call) in {_ASSIGN, _ASSIGN_WITH_SEED} and call.accounts
        and _key_at(transaction.keys, call.accounts[0]) in {wallet, None}
        for call in transaction.instructions
    )  # fmt: skip


def recipients(transaction: SolanaTransaction, keys: tuple[str, ...]) -> tuple[str | None, ...]:
    """Whom its instructions pay: accounts of the system program, and token accounts; and other programs that it calls.
    None: one that stands in a table.

    Args:
        transaction: what is signed.
        keys: all its accounts, as far as they are known.
    """
    found: dict[str | None, None] = {each.target: None for each in payments(transaction, keys)}
    for call in transaction.instructions:
        if call.program in {TOKENS, NEWER_TOKENS} and call.data:
            place = {_TOKEN_TRANSFER: 1, _TOKEN_TRANSFER_CHECKED: 2, _TOKEN_CLOSE: 1}.get(call.data[0])
            if place is not None:
                found[_key_at(keys, call.accounts[place]) if len(call.accounts) > place else None] = None
        elif call.program not in _QUIET | {ASSOCIATED}:
            found[call.program] = None
    return tuple(found)


def plain(transaction: SolanaTransaction) -> bool:
    """Whether the system program alone moves anything, so that the bytes say all that leaves."""
    return all(call.program in _QUIET for call in transaction.instructions)


_QUIET = PRECOMPILES | {SYSTEM, COMPUTE_BUDGET, _MEMO}
"""Programs that pay nobody but by what is written in the data of their instructions."""


def _kind(call: Instruction) -> int:
    return _number(call.data, 0, 4) if len(call.data) >= 4 else -1


def _number(data: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(data[at : at + size], "little")
