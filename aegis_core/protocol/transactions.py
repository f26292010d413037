"""Transactions of chains as the decision sees them: what was read from signed bytes, not what an agent says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from aegis_core.protocol.fields import Identifier, Intent, LockTtl, Usd
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.parsing import Message

PLAIN_TRANSFER = "transfer"
"""The method of a transaction that carries no data: it only moves the chain's coin."""


class TransactionFacts(Message):
    """What a transaction is and does, by its bytes and its chain's profile.

    Attributes:
        chain: by CAIP-2, such as ``eip155:143``; `name`: as its operator calls it.
        testnet: whether the chain's coin is worth nothing.
        wallet: the account that signed it, by CAIP-10, in lower case.
        to: the account that it calls, in lower case; None: it creates a contract.
        method: the first four bytes of its data, such as ``0xa9059cbb``; `PLAIN_TRANSFER` without data.
        creates: whether it creates a contract itself.
        gas_usd: its fees at most.
        outflow_usd: what leaves the wallet beside them, before anything comes; None: nobody knows.
        core: a hash of all that it does, fees left out. `hash`: as nodes name it.
        nonce: its place among the wallet's transactions.
        max_fee, priority_fee: wei for a unit of gas at most, and what it offers above the base fee.
        stale_ms: how old the price of gas may be that it is judged by.
    """

    chain: str
    name: str
    testnet: bool
    wallet: str
    to: str | None = None
    method: str
    creates: bool
    gas_usd: Usd
    outflow_usd: Usd | None = None
    core: str
    hash: str
    nonce: int
    max_fee: Annotated[int, Field(ge=0, le=2**53 - 1)]
    priority_fee: Annotated[int, Field(ge=0, le=2**53 - 1)]
    stale_ms: int

    @property
    def address(self) -> str:
        """The account that signed it, without its chain."""
        return self.wallet.rpartition(":")[2]


class TransactionRequest(PermissionRequest):
    """A request about one transaction. It is made beside the decision and read from no wire: there, `transaction` is no
    field of a request."""

    transaction: TransactionFacts


def transaction_of(request: PermissionRequest) -> TransactionFacts | None:
    """The transaction that a request shows; None: it shows none, and may be about any."""
    return request.transaction if isinstance(request, TransactionRequest) else None


class TransactionOrder(Message):
    """Ask to send a signed transaction: money is reserved for all that it can take, and its wallet is locked.

    `transaction`: the signed bytes in hexadecimal. The lease of the wallet ends after `lock_ttl_seconds` unless it is
    renewed.
    """

    agent_id: Identifier
    session_id: Identifier | None = None
    chain: Annotated[str, Field(min_length=1, max_length=64)]
    wallet: Annotated[str, Field(min_length=1, max_length=128)]
    transaction: Annotated[str, Field(max_length=2_700_000)]
    task_intent: Intent
    priority: Annotated[int, Field(ge=1, le=10)] = 5
    lock_ttl_seconds: LockTtl = 30


class SendTransaction(Message):
    """Send what a grant was given for. `replaces`: it is meant to take the place of one with the same nonce."""

    agent_id: Identifier
    grant_id: str
    transaction: Annotated[str, Field(max_length=2_700_000)]
    replaces: bool = False


TransactionState = Literal["held", "sending", "sent", "settled"]


@dataclass(slots=True)
class TransactionReport:
    """How a transaction stands.

    ``held``: nothing was sent. ``sending``: whether a node took it is not known. ``sent``: a node accepted it; its
    money is held at the bound. ``settled``: it is final, or can never be, and `charged_usd` is what it cost.
    """

    grant_id: str
    state: TransactionState
    hash: str | None
    reserved_usd: Usd
    charged_usd: Usd
