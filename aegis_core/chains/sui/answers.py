"""What nodes of Sui answer, read strictly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aegis_core.chains.quantities import coin_type, mapping
from aegis_core.chains.receipts import TokenTransfer, net_transfer
from aegis_core.chains.simulation import COIN_ASSET, Simulation
from aegis_core.chains.solana.network import items, number
from aegis_core.chains.sui.wire import SuiTransaction

SUI = coin_type("0x2::sui::SUI")
_COIN = coin_type("0x2::coin::Coin") + "<"
_MOST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SuiEffects:
    """What a transaction did, or would do.

    `gas`: computation and storage, less what is given back for storage that was freed; it may be below 0. `changes`:
    what accounts have more or less, by account and type of coin, gas among them. `checkpoint`: where it stands; None
    before it is in one.
    """

    digest: str
    success: bool
    reason: str | None
    gas: int
    changes: tuple[tuple[str, str, int], ...]
    checkpoint: int | None

    def change(self, wallet: str, coin: str = SUI) -> int:
        """What a wallet has more of a coin afterwards; negative: less."""
        return sum(amount for owner, of, amount in self.changes if owner == wallet and of == coin)

    def gained(self, wallet: str) -> tuple[TokenTransfer, ...]:
        """What a wallet has more or less of other coins afterwards."""
        mine = ((coin, amount) for owner, coin, amount in self.changes if owner == wallet and coin != SUI)
        return tuple(net_transfer(coin, wallet, amount) for coin, amount in mine)


@dataclass(frozen=True, slots=True)
class SuiHead:
    """The newest epoch and checkpoint that a node has seen: the reference price of gas, and the time in seconds."""

    price: int
    checkpoint: int
    at: int


def read_head(answer: object) -> SuiHead:
    """Read the answer to `GAS`. Raises `ValueError`."""
    said = mapping(answer, "data")
    checkpoint, epoch = mapping(said.get("checkpoint"), "checkpoint"), mapping(said.get("epoch"), "epoch")
    try:
        at = datetime.fromisoformat(str(checkpoint.get("timestamp"))).timestamp()
    except ValueError:
        raise ValueError("the checkpoint has no time") from None
    return SuiHead(
        big(epoch.get("referenceGasPrice"), "referenceGasPrice", least=1),
        number(checkpoint.get("sequenceNumber"), "sequenceNumber", _MOST), int(at),
    )  # fmt: skip


def read_landed(answer: object, digest: str) -> SuiEffects | None:
    """Read the answer to `TRANSACTION`; None where the node knows of nothing. Raises `ValueError`."""
    found = _named(answer, "transaction")
    if found is None:
        return None
    said = mapping(found, "transaction")
    if said.get("digest") != digest:
        raise ValueError("the transaction is another one than was asked for")
    return None if said.get("effects") is None else read_effects(said["effects"], digest)


def read_effects(answer: object, digest: str) -> SuiEffects:
    """Read what a transaction did. Raises `ValueError`."""
    said = mapping(answer, "effects")
    if said.get("digest") != digest:
        raise ValueError("the effects are of another transaction")
    status = said.get("status")
    if status not in {"SUCCESS", "FAILURE"}:
        raise ValueError("the effects have no status")
    gas = mapping(mapping(said.get("gasEffects"), "gasEffects").get("gasSummary"), "gasSummary")
    costs = [number(gas.get(name), name, _MOST) for name in ("computationCost", "storageCost", "storageRebate")]
    changes: list[tuple[str, str, int]] = []
    for each in _page(said.get("balanceChanges"), "balanceChanges"):
        of = mapping(each.get("coinType"), "coinType").get("repr")
        owner = None if each.get("owner") is None else mapping(each["owner"], "owner").get("address")
        if not isinstance(of, str):
            raise ValueError("a change of a balance names no coin")
        if isinstance(owner, str):
            changes.append((owner.lower(), coin_type(of), big(each.get("amount"), "amount")))
    placed = said.get("checkpoint")
    place = None if placed is None else mapping(placed, "checkpoint").get("sequenceNumber")
    return SuiEffects(
        digest, status == "SUCCESS", _reason(said), costs[0] + costs[1] - costs[2], tuple(sorted(changes)),
        None if place is None else number(place, "sequenceNumber", _MOST),
    )  # fmt: skip


def read_simulation(answer: object, transaction: SuiTransaction, wallet: str) -> Simulation:
    """Read the answer to `SIMULATE`. Raises `ValueError`."""
    said = mapping(answer, "data")
    ran = mapping(mapping(said.get("simulateTransaction"), "simulateTransaction").get("effects"), "effects")
    done = read_effects(ran, transaction.digest)
    deltas: dict[str, int] = {}
    for owner, coin, amount in done.changes:
        if owner == wallet:
            asset = COIN_ASSET if coin == SUI else coin
            deltas[asset] = deltas.get(asset, 0) + amount
    if transaction.owner == wallet:  # the gas is in what the balance says, and is held by itself
        deltas[COIN_ASSET] = deltas.get(COIN_ASSET, 0) + done.gas
    given = set[str]()
    for each in _page(ran.get("objectChanges"), "objectChanges"):
        before, after = each.get("inputState"), each.get("outputState")
        if before is None or _owner(before) != wallet or (after is not None and _owner(after) == wallet):
            continue
        of = _type(before)
        if not of.startswith(_COIN):  # coins are in the balances
            given.add(of)
    checkpoint = number(mapping(said.get("checkpoint"), "checkpoint").get("sequenceNumber"), "sequenceNumber", _MOST)
    return Simulation(
        success=done.success, reason=done.reason, gas=max(0, done.gas),
        deltas=tuple((asset, delta) for asset, delta in deltas.items() if delta), unread=tuple(sorted(given)),
        approvals=(), standing=(), creates=transaction.creates,
        touched=tuple(sorted({each.partition("::")[0] for each in transaction.calls})), block=checkpoint, at=0,
    )  # fmt: skip


def read_version(answer: object) -> int | None:
    """Read the answer to `OBJECT`; None: it knows of none. Raises `ValueError`."""
    found = _named(answer, "object")
    return None if found is None else number(mapping(found, "object").get("version"), "version", _MOST)


def read_chain(answer: object) -> str:
    """Read the answer to `CHAIN`. Raises `ValueError`."""
    return str(mapping(answer, "data").get("chainIdentifier"))


def big(value: object, name: str, least: int | None = None) -> int:
    """Read a whole number that is written as text, as GraphQL does with large ones.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, str) or len(value) > 40 or not value.removeprefix("-").isascii():
        raise ValueError(f"{name} is no whole number as text")
    if not value.removeprefix("-").isdigit() or value != str(int(value)) or (least is not None and int(value) < least):
        raise ValueError(f"{name} is no whole number as text")
    return int(value)


def _named(answer: object, field: str) -> object:
    said = mapping(answer, "data")
    if field not in said:
        raise ValueError(f"the answer says nothing of {field}")
    return said[field]


def _page(value: object, name: str) -> list[dict[str, Any]]:
    """All of a list, which must be on one page."""
    said = mapping(value, name)
    if mapping(said.get("pageInfo"), "pageInfo").get("hasNextPage") is not False:
        raise ValueError(f"{name} are more than are looked at")
    return [mapping(each, name) for each in items(said.get("nodes"), name)]


def _owner(state: object) -> str | None:
    owner = mapping(state, "state").get("owner")
    held = None if owner is None else mapping(owner, "owner").get("address")
    found = None if held is None else mapping(held, "address").get("address")
    return found.lower() if isinstance(found, str) else None


def _type(state: object) -> str:
    moved = mapping(state, "state").get("asMoveObject")
    contents = None if moved is None else mapping(moved, "asMoveObject").get("contents")
    of = None if contents is None else mapping(mapping(contents, "contents").get("type"), "type").get("repr")
    return coin_type(of) if isinstance(of, str) else "an object of an unknown type"


def _reason(said: dict[str, Any]) -> str | None:
    if said.get("executionError") is None:
        return None
    error = mapping(said["executionError"], "executionError")
    text = f"{error.get('message')}"[:200]
    return "".join(letter if letter.isprintable() else " " for letter in text)
