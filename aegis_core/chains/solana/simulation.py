"""What a Solana transaction would do, by running it on nodes before it is sent. It can only make a judgement stricter.

Each node runs it on its newest state, and says what its accounts held on the very slot before. Nodes are never on the
same slot, so what they say may differ: the worst of what enough of them say counts.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis_core.chains.node import Node, NodeFault, NodeRefusal, texts
from aegis_core.chains.quantities import mapping
from aegis_core.chains.simulation import COIN_ASSET, Approval, Simulation
from aegis_core.chains.solana.base58 import encode
from aegis_core.chains.solana.fees import fee_of
from aegis_core.chains.solana.network import AccountState, SolanaNetwork, account_of, items, number, value_of
from aegis_core.chains.solana.programs import NEWER_TOKENS, SYSTEM, TOKENS, puts_code
from aegis_core.chains.solana.wire import SolanaTransaction
from aegis_core.chains.worst import worst_of
from aegis_core.protocol.errors import ChainError

_ATTEMPTS = 4
_UNLIMITED = 2**64 - 1
_TABLE_OWNER = "AddressLookupTab1e1111111111111111111111111"
_TABLE_HEAD, _KEY = 56, 32
_TOKEN_ACCOUNT = 165
_ENCODED = {"encoding": "base64", "commitment": "processed"}


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """What a token program keeps of one account."""

    mint: str
    owner: str
    amount: int
    delegate: str | None
    delegated: int
    closer: str | None
    newer: bool

    @property
    def asset(self) -> str:
        """The mint. One of Token-2022 is named so that no price is found for it, as long as its rules are not read."""
        return f"token-2022:{self.mint}" if self.newer else self.mint


@dataclass(frozen=True, slots=True)
class Seen:
    """What one node says. `keys`: all accounts; `writable`: those that may be written; `owners`: whose the token
    accounts are."""

    simulation: Simulation
    keys: tuple[str, ...]
    writable: tuple[str, ...]
    owners: Mapping[str, str]
    assigned: bool


async def simulate(network: SolanaNetwork, transaction: SolanaTransaction, wallet: str) -> Seen:
    """Run a transaction on as many nodes as must agree, and take the worst of what they say.

    Raises:
        ChainError: too few can run it, or know what it looks up.
    """
    answers = await asyncio.gather(
        *(_seen_by(node, transaction, wallet) for node in network.nodes), return_exceptions=True
    )
    faults = [each for each in answers if isinstance(each, NodeFault)]
    for each in answers:
        if isinstance(each, BaseException) and not isinstance(each, NodeFault):
            raise each
    seen = [each for each in answers if not isinstance(each, BaseException)]
    if len(seen) < network.quorum:
        raise ChainError(
            f"{network.profile.name}: simulateTransaction needs an answer of {network.quorum} of {len(network.nodes)} "
            f"nodes: {texts(faults)}.",
            chain=network.profile.id, reason="unknown",
        )  # fmt: skip
    return _worst(seen)


async def _seen_by(node: Node, transaction: SolanaTransaction, wallet: str) -> Seen:
    try:
        keys, writable = await _resolved(node, transaction)
        asked = {
            "encoding": "base64", "sigVerify": False, "replaceRecentBlockhash": True, "innerInstructions": True,
            "commitment": "processed", "accounts": {"encoding": "base64", "addresses": list(keys)},
        }  # fmt: skip
        content = b64encode(bytes([len(transaction.signatures)]) + b"".join(transaction.signatures)
                            + transaction.message).decode()  # fmt: skip
        for _ in range(_ATTEMPTS):
            slot, before = _accounts(await node.call("getMultipleAccounts", list(keys), _ENCODED), len(keys))
            ran_at, said = value_of(await node.call("simulateTransaction", content, asked), "simulateTransaction")
            if slot == ran_at:
                return _read(transaction, wallet, keys, writable, slot, before, mapping(said, "the simulation"))
    except ValueError as error:
        raise NodeFault(f"{node.name}: {error}") from None
    except NodeRefusal as refusal:
        raise NodeFault(str(refusal)) from None
    raise NodeFault(f"{node.name} did not simulate it on the slot whose accounts it named")


def _accounts(answer: object, count: int) -> tuple[int, list[AccountState | None]]:
    slot, value = value_of(answer, "getMultipleAccounts")
    found = [None if each is None else account_of(each) for each in items(value, "getMultipleAccounts")]
    if len(found) != count:
        raise ValueError(f"getMultipleAccounts names {len(found)} accounts, not {count}")
    return slot, found


async def _resolved(node: Node, transaction: SolanaTransaction) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All accounts of a transaction in their order, those of tables too; and those that may be written."""
    if not transaction.lookups:
        return transaction.keys, transaction.writable_keys
    asked = [each.table for each in transaction.lookups]
    _, tables = _accounts(await node.call("getMultipleAccounts", asked, _ENCODED), len(asked))
    written, readonly = list[str](), list[str]()
    for lookup, table in zip(transaction.lookups, tables, strict=True):
        held = _table(table, lookup.table)
        if any(place >= len(held) for place in (*lookup.writable, *lookup.readonly)):
            raise ValueError(f"the table {lookup.table} has no such place")
        written += [held[place] for place in lookup.writable]
        readonly += [held[place] for place in lookup.readonly]
    return (*transaction.keys, *written, *readonly), (*transaction.writable_keys, *written)


def _table(table: AccountState | None, name: str) -> list[str]:
    if table is None or table.owner != _TABLE_OWNER or len(table.data) < _TABLE_HEAD or table.data[:4] != b"\1\0\0\0":
        raise ValueError(f"{name} is no table of addresses")
    if table.data[4:12] != b"\xff" * 8:
        raise ValueError(f"the table {name} is being closed")
    body = table.data[_TABLE_HEAD:]
    return [encode(body[at : at + _KEY]) for at in range(0, len(body) - _KEY + 1, _KEY)]


def _read(
    transaction: SolanaTransaction, wallet: str, keys: tuple[str, ...], writable: tuple[str, ...], slot: int,
    before: Sequence[AccountState | None], said: Mapping[str, Any],
) -> Seen:  # fmt: skip
    failed = said.get("err") is not None
    touched = {call.program for call in transaction.instructions} | set(_inner_programs(said, keys))
    old = dict(zip(keys, before, strict=True))
    new = old
    if not failed:
        listed = items(said.get("accounts"), "accounts")
        if len(listed) != len(keys):
            raise ValueError("the simulation does not name every account that was asked for")
        new = dict(zip(keys, (None if each is None else account_of(each) for each in listed), strict=True))
    fee = fee_of(transaction) if transaction.payer == wallet else 0
    coin = 0 if failed else _lamports(new.get(wallet)) - _lamports(old.get(wallet)) + fee
    tokens = {key: (token_account(old[key]), token_account(new[key])) for key in keys}
    deltas, unread = {COIN_ASSET: coin}, set[str]()
    for key, (was, now) in tokens.items():
        for one, sign in ((was, -1), (now, 1)):
            if one is not None and one.owner == wallet:
                deltas[one.asset] = deltas.get(one.asset, 0) + sign * one.amount
                if one.newer and key in writable:
                    unread.add(one.asset)  # its mint may take fees, or all of it, by rules of its own
    owners = {key: (was or now) for key, (was, now) in tokens.items()}
    simulation = Simulation(
        success=not failed, reason=_reason(said) if failed else None, gas=_units(said),
        deltas=tuple((asset, delta) for asset, delta in deltas.items() if delta), unread=tuple(sorted(unread)),
        approvals=tuple(_approvals(wallet, tokens.values())), standing=_standing(wallet, tokens.values(), keys),
        creates=any(map(puts_code, touched)), touched=tuple(sorted(touched)), block=slot, at=0,
    )  # fmt: skip
    now = new.get(wallet)
    return Seen(
        simulation, keys, writable, {key: held.owner for key, held in owners.items() if held is not None},
        now is not None and now.owner != SYSTEM and _owner(old.get(wallet)) == SYSTEM,
    )  # fmt: skip


def _lamports(state: AccountState | None) -> int:
    """What the wallet can still spend: nothing once it belongs to a program."""
    return 0 if state is None or state.owner != SYSTEM else state.lamports


def _owner(state: AccountState | None) -> str:
    return SYSTEM if state is None else state.owner


def token_account(state: AccountState | None) -> TokenAccount | None:
    """Read an account of a token program; None where it is none."""
    if state is None or state.owner not in {TOKENS, NEWER_TOKENS} or len(state.data) < _TOKEN_ACCOUNT:
        return None
    data = state.data
    if len(data) > _TOKEN_ACCOUNT and data[_TOKEN_ACCOUNT] != 2:
        return None  # a mint with extensions
    if data[108] == 0:
        return None  # not set up yet
    delegate = encode(data[76:108]) if data[72:76] == b"\1\0\0\0" else None
    return TokenAccount(
        encode(data[:32]), encode(data[32:64]), int.from_bytes(data[64:72], "little"), delegate,
        int.from_bytes(data[121:129], "little") if delegate else 0,
        encode(data[133:165]) if data[129:133] == b"\1\0\0\0" else None, state.owner == NEWER_TOKENS,
    )  # fmt: skip


_Pairs = Iterable[tuple[TokenAccount | None, TokenAccount | None]]


def _approvals(wallet: str, tokens: _Pairs) -> Iterable[Approval]:
    for was, now in tokens:
        if now is None or now.owner != wallet:
            continue
        before = (was.delegate, was.delegated) if was else (None, 0)
        if now.delegate is not None and (now.delegate != before[0] or now.delegated > before[1]):
            yield Approval(now.asset, now.delegate, None if now.delegated >= _UNLIMITED else now.delegated)
        if now.closer is not None and now.closer not in {was.closer if was else None, wallet}:
            yield Approval(now.asset, now.closer, None)


def _standing(wallet: str, tokens: _Pairs, keys: tuple[str, ...]) -> tuple[tuple[str, int], ...]:
    """What delegates that it touches may take by older approvals."""
    most: dict[str, int] = {}
    for was, _ in tokens:
        if was is not None and was.owner == wallet and was.delegate in keys:
            most[was.asset] = most.get(was.asset, 0) + min(was.amount, was.delegated)
    return tuple((mint, amount) for mint, amount in sorted(most.items()) if amount)


def _inner_programs(said: Mapping[str, Any], keys: tuple[str, ...]) -> Iterable[str]:
    for outer in items(said.get("innerInstructions") or [], "innerInstructions"):
        for call in items(mapping(outer, "inner").get("instructions"), "instructions"):
            found = mapping(call, "an instruction")
            if isinstance(found.get("programId"), str):
                yield found["programId"]
            else:
                yield keys[number(found.get("programIdIndex"), "programIdIndex", len(keys) - 1)]


def _units(said: Mapping[str, Any]) -> int:
    used = said.get("unitsConsumed")
    return 0 if used is None else number(used, "unitsConsumed")


def _reason(said: Mapping[str, Any]) -> str:
    """The error, and the last thing that a program said."""
    logs = [str(each) for each in items(said.get("logs") or [], "logs")]
    last = next((each for each in reversed(logs) if each.startswith("Program log: ")), "")
    text = f"{said['err']} {last.removeprefix('Program log: ')}".strip()[:200]
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _worst(seen: Sequence[Seen]) -> Seen:
    last = seen[-1]
    return Seen(
        worst_of([each.simulation for each in seen]), last.keys,
        tuple(dict.fromkeys(key for each in seen for key in each.writable)),
        {key: owner for each in seen for key, owner in each.owners.items()}, any(each.assigned for each in seen),
    )  # fmt: skip
