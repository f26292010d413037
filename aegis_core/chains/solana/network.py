"""The nodes of Solana, believed only where enough of them agree."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from aegis_core.chains.gas import GasPrice, SeenBlock, chosen_price
from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.node import Node, NodeFault
from aegis_core.chains.quantities import JUDGED, mapping
from aegis_core.chains.receipts import TokenTransfer, net_transfer
from aegis_core.chains.solana.programs import TOKENS
from aegis_core.protocol.errors import ChainError

_UINT64, _DIGITS = 2**64 - 1, 20
_NEWEST_SLOTS = 20
_MOST_ACCOUNTS = 128
_AHEAD_SECONDS = 30


class SolanaNode(Node):
    """One endpoint, which must serve the chain of its genesis block."""

    def __init__(self, url: str, place: int, client: Any, timeout: float, genesis: str) -> None:
        super().__init__(url, place, 0, client, timeout)
        self._genesis = genesis

    async def _served(self) -> None:
        answer = await self._asked("getGenesisHash", ())
        if not isinstance(answer, str) or answer[:32] != self._genesis[:32]:
            raise NodeFault(f"{self.name} serves another chain than solana:{self._genesis}")


@dataclass(frozen=True, slots=True)
class LandedTransaction:
    """What a finalized block holds of a transaction: its fee, and the lamports of its accounts before and after it.
    `tokens`: what owners have more of a mint afterwards, by owner and mint."""

    slot: int
    success: bool
    fee: int
    keys: tuple[str, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    tokens: tuple[tuple[str, str, int], ...] = ()

    def lost(self, account: str) -> int:
        """Lamports that an account has less afterwards; negative: more."""
        if account not in self.keys:
            return 0
        place = self.keys.index(account)
        return self.before[place] - self.after[place]

    def gained(self, account: str) -> tuple[TokenTransfer, ...]:
        """What an account has more or less of tokens afterwards."""
        return tuple(net_transfer(mint, account, amount) for owner, mint, amount in self.tokens if owner == account)


class SolanaNetwork(ChainNetwork):
    """The nodes that an operator names for Solana."""

    def node(self, url: str, place: int, timeout: float) -> Node:
        """One of its nodes."""
        return SolanaNode(url, place, self._client, timeout, self.profile.reference)

    def submission(self, raw: bytes) -> tuple[str, *tuple[object, ...]]:
        """The call that hands signed bytes to a node. What would fail now is refused by it, and costs nothing."""
        return "sendTransaction", b64encode(raw).decode(), {"encoding": "base64", "preflightCommitment": "confirmed"}

    async def gas_price(self, now: float) -> GasPrice:
        """What has to be offered for a compute unit whatever is written, in micro-lamports: the median of the newest
        slots, often 0. Raises `ChainError` as `ChainNetwork.gas_price`."""
        slot = await self.reached("getSlot", _FINALIZED, read=_number)
        at = await self.reached("getBlockTime", slot, read=_number)
        age = now - at
        if not -_AHEAD_SECONDS <= age <= self.profile.stale_seconds:
            raise ChainError(
                f"{self.profile.name}: the newest final block is {age:.0f} s old, beyond what may be believed.",
                chain=self.profile.id, reason="unknown",
            )  # fmt: skip
        found, faults = await self.answers("getRecentPrioritizationFees", [], read=_fee_of)
        price = chosen_price([SeenBlock(slot, at, fee) for fee in found], self.quorum)
        if price is None:
            raise self._disagreement("getRecentPrioritizationFees", len(set(found)), faults)
        return price

    async def fee_for(self, accounts: Iterable[str]) -> int:
        """What others lately offered for a compute unit to write one of these accounts, in micro-lamports."""
        return await self.reached("getRecentPrioritizationFees", list(accounts)[:_MOST_ACCOUNTS], read=_fee_of)

    async def expires(self, blockhash: str) -> int | None:
        """The height after which nothing with this blockhash can land; None where it is unknown, or expired already.

        Raises:
            ChainError: the nodes do not agree.
        """
        recent = await self.agreed("isBlockhashValid", blockhash, _PROCESSED, read=_flag)
        if not recent:
            return None
        # It is no younger than the newest, so it is over with that at the latest.
        return await self.reached("getLatestBlockhash", _PROCESSED, read=_last_valid)

    async def final_height(self) -> int:
        """The height of the newest final block."""
        return await self.reached("getBlockHeight", _FINALIZED, read=_number)

    async def landed(self, signature: str) -> LandedTransaction | None:
        """What became of a transaction, once that is final; None where enough nodes know of nothing."""
        how = _FINALIZED | {"encoding": "json", "maxSupportedTransactionVersion": 0}
        return await self.agreed("getTransaction", signature, how, read=lambda answer: read_landed(answer, signature))

    async def nonce_value(self, account: str) -> bytes | None:
        """The data of a nonce account at finality; None where there is none."""
        return await self.agreed("getAccountInfo", account, _FINALIZED | {"encoding": "base64"}, read=_account_data)

    async def knows(self, transaction: str) -> bool:
        """Whether any node has heard of a transaction, by its signature."""
        found, _ = await self.answers(
            "getSignatureStatuses", [transaction], {"searchTransactionHistory": True}, read=_status
        )
        return any(found)


_FINALIZED: dict[str, Any] = {"commitment": "finalized"}
_PROCESSED: dict[str, Any] = {"commitment": "processed"}


def number(value: object, name: str, most: int = _UINT64) -> int:
    """Read a whole number.

    Raises:
        ValueError: anything else: a text, a fraction, a truth value, one below 0 or above `most`.
    """
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{name} is no whole number from 0 to {most}")
    return value


def items(value: object, name: str) -> list[Any]:
    """Read a list.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, list):
        raise ValueError(f"{name} is not a list")
    return cast("list[Any]", value)


def value_of(answer: object, name: str) -> tuple[int, Any]:
    """The slot and the value of an answer that names its slot.

    Raises:
        ValueError: it does not.
    """
    said = mapping(answer, name)
    if "value" not in said:
        raise ValueError(f"{name} has no value")
    return number(mapping(said.get("context"), "context").get("slot"), "slot"), said["value"]


def read_landed(answer: object, signature: str) -> LandedTransaction | None:
    """Read the answer to ``getTransaction``.

    Raises:
        ValueError: it is of another transaction, or a field is missing or of the wrong form.
    """
    if answer is None:
        return None
    said = mapping(answer, "transaction")
    meta, sent = mapping(said.get("meta"), "meta"), mapping(said.get("transaction"), "transaction")
    if items(sent.get("signatures"), "signatures")[:1] != [signature]:
        raise ValueError("the transaction is another one than was asked for")
    keys = [str(key) for key in items(mapping(sent.get("message"), "message").get("accountKeys"), "accountKeys")]
    if meta.get("loadedAddresses"):
        loaded = mapping(meta["loadedAddresses"], "loadedAddresses")
        keys += [str(key) for part in ("writable", "readonly") for key in items(loaded.get(part, []), part)]
    before, after = (
        tuple(number(each, name) for each in items(meta.get(name), name)) for name in ("preBalances", "postBalances")
    )
    if not len(before) == len(after) == len(keys):
        raise ValueError("the balances are not of its accounts")
    return LandedTransaction(
        number(said.get("slot"), "slot"), meta.get("err") is None, number(meta.get("fee"), "fee"), tuple(keys), before,
        after, _tokens(meta),
    )  # fmt: skip


def _tokens(meta: dict[str, Any]) -> tuple[tuple[str, str, int], ...]:
    held: dict[tuple[str, str], int] = {}
    for name, sign in (("preTokenBalances", -1), ("postTokenBalances", 1)):
        for each in items(meta.get(name) or [], name):
            said = mapping(each, name)
            owner, mint, program = (said.get(field) for field in ("owner", "mint", "programId"))
            if not (isinstance(owner, str) and isinstance(mint, str) and isinstance(program, str)):
                raise ValueError(f"{name} says not whose and what it is")
            amount = mapping(said.get("uiTokenAmount"), "uiTokenAmount").get("amount")
            if not isinstance(amount, str) or not amount.isascii() or not amount.isdigit() or len(amount) > _DIGITS:
                raise ValueError(f"{name} has no amount")
            if program == TOKENS:
                held[owner, mint] = held.get((owner, mint), 0) + sign * int(amount)
    return tuple((*whose, amount) for whose, amount in sorted(held.items()) if amount)


def _number(answer: object) -> int:
    return number(answer, "the answer", 2**53 - 1)


def _flag(answer: object) -> bool:
    _, value = value_of(answer, "isBlockhashValid")
    if not isinstance(value, bool):
        raise ValueError("isBlockhashValid says neither true nor false")
    return value


def _last_valid(answer: object) -> int:
    _, value = value_of(answer, "getLatestBlockhash")
    return _number(mapping(value, "getLatestBlockhash").get("lastValidBlockHeight"))


def _fee_of(answer: object) -> int:
    """The median of the newest slots; nobody who offers anything: 0."""
    seen = [mapping(each, "a slot") for each in items(answer, "getRecentPrioritizationFees")]
    newest = sorted(
        (_number(each.get("slot")), number(each.get("prioritizationFee"), "prioritizationFee", JUDGED)) for each in seen
    )[-_NEWEST_SLOTS:]
    fees = sorted(fee for _, fee in newest)
    return fees[len(fees) // 2] if fees else 0


def _status(answer: object) -> bool:
    _, value = value_of(answer, "getSignatureStatuses")
    return items(value, "getSignatureStatuses")[:1] != [None]


def _account_data(answer: object) -> bytes | None:
    _, value = value_of(answer, "getAccountInfo")
    return None if value is None else account_of(value).data


@dataclass(frozen=True, slots=True)
class AccountState:
    """An account of Solana: its lamports, the program that may change it, and its data."""

    lamports: int
    owner: str
    data: bytes


def account_of(value: object) -> AccountState:
    """Read an account, whose data are base64.

    Raises:
        ValueError: it is none.
    """
    from base64 import b64decode

    said = mapping(value, "account")
    data = items(said.get("data"), "data")
    if len(data) != 2 or data[1] != "base64" or not isinstance(data[0], str) or not isinstance(said.get("owner"), str):
        raise ValueError("an account is not written in base64, or has no owner")
    return AccountState(number(said.get("lamports"), "lamports"), said["owner"], b64decode(data[0], validate=True))
