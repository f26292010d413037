"""Transactions of chains as the decision sees them: what was read from signed bytes, not what an agent says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from aegis_core.protocol.fields import Identifier, Intent, LockTtl, Usd
from aegis_core.protocol.messages import PermissionRequest
from aegis_core.protocol.money import format_usd, to_nanos
from aegis_core.protocol.parsing import Message

PLAIN_TRANSFER = "transfer"
"""The method of a transaction that carries no data: it only moves the chain's coin."""


class AssetMove(Message):
    """What a wallet has more or less of an asset. `amount` is in whole units where its decimals are known, else in the
    smallest ones; `usd`: what that is worth, None: nobody knows."""

    asset: str
    symbol: str | None = None
    amount: str
    usd: Usd | None = None

    @property
    def leaves(self) -> bool:
        """Whether it has less."""
        return self.amount.startswith("-")


class ApprovalMade(Message):
    """What a spender may take afterwards: `amount` as of `AssetMove`, None: everything."""

    token: str
    symbol: str | None = None
    spender: str
    amount: str | None = None
    unlimited: bool
    usd: Usd | None = None


class SwapFacts(Message):
    """A swap as it is signed. `takes_usd`: what it sells is worth that, None: nobody knows; `least_usd`: what it must
    bring, 0 where nobody knows."""

    sells: str
    buys: str
    takes_usd: Usd | None = None
    least_usd: Usd


class SimulationFacts(Message):
    """What a transaction would have done on the newest block.

    Attributes:
        success: false where it would be reverted, for `reason`.
        gas: what it uses.
        moves: what leaves the wallet and what comes, beside fees.
        approvals: what it lets others take.
        creates: whether contracts are created, also by what it calls; None: no node says.
        unpriced: what leaves, or may, and nobody says what it is worth.
        inflow_usd: what comes, as far as its price is known.
        slippage_usd: so much less comes than leaves; None: nobody knows.
        block, at: where it ran, and that block's time (seconds).
    """

    success: bool
    reason: str | None = None
    gas: int
    moves: tuple[AssetMove, ...] = ()
    approvals: tuple[ApprovalMade, ...] = ()
    creates: bool | None = None
    unpriced: tuple[str, ...] = ()
    inflow_usd: Usd
    slippage_usd: Usd | None = None
    block: int
    at: int


class TransactionFacts(Message):
    """What a transaction is and does, by its bytes and its chain's profile.

    Attributes:
        chain: by CAIP-2, such as ``eip155:143``; `name`: as its operator calls it.
        testnet: whether the chain's coin is worth nothing.
        wallet: the account that signed it, by CAIP-10, in lower case.
        to: the account that it calls, in lower case; None: it creates a contract.
        method: the first four bytes of its data, such as ``0xa9059cbb``; `PLAIN_TRANSFER` without data.
        creates: whether it creates a contract itself.
        delegates: whether it lets an account run somebody's code from then on (EIP-7702).
        gas_usd: its fees at most.
        outflow_usd: what can leave the wallet beside them, before anything comes; None: nobody knows.
        cosigners: who else signs it, by CAIP-10.
        calls, recipients: what it calls and whom it pays, where that may be several (Solana, Sui); None among them:
            somebody that nobody can tell.
        lasting: whether it stays valid without an end, so that nobody knows when it happens.
        swap: what it trades, as its data demands it, where that can be read.
        simulation: what it would do now; None where it could not be run, for `simulation_problem`.
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
    delegates: bool = False
    gas_usd: Usd
    outflow_usd: Usd | None = None
    core: str
    hash: str
    nonce: int
    max_fee: Annotated[int, Field(ge=0, le=2**53 - 1)]
    priority_fee: Annotated[int, Field(ge=0, le=2**53 - 1)]
    stale_ms: int
    swap: SwapFacts | None = None
    simulation: SimulationFacts | None = None
    simulation_problem: str | None = None
    cosigners: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    recipients: tuple[str | None, ...] = ()
    lasting: bool = False

    @property
    def family(self) -> str:
        """The kind of its chain, as CAIP-2 names it."""
        return self.chain.partition(":")[0]

    @property
    def address(self) -> str:
        """The account that signed it, without its chain."""
        return self.wallet.rpartition(":")[2]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels whose budgets pay it: its chain, its wallet, and what leaves that has a symbol."""
        moves = self.simulation.moves if self.simulation else ()
        assets = sorted({each.symbol for each in moves if each.leaves and each.symbol})
        return (f"chain={self.name}", f"wallet={self.wallet}", *(f"asset={each}" for each in assets))


def simulated_lines(facts: object) -> tuple[str, ...]:
    """What a transaction would do, by its facts as they are stored, for a person: a line each."""
    if not facts:
        return ()
    found = TransactionFacts.model_validate(facts).simulation
    if found is None:
        return ("it could not be simulated, so nobody knows what it would do",)
    lines = [] if found.success else [f"it would be reverted: {found.reason}"]
    for move in found.moves:
        worth = "nobody says what that is worth" if move.usd is None else format_usd(to_nanos(move.usd))
        lines.append(f"{move.amount} {move.symbol or move.asset} ({worth})")
    for each in found.approvals:
        amount = "everything" if each.unlimited else each.amount
        lines.append(f"{each.spender} may take {amount} of {each.symbol or each.token}")
    if found.creates:
        lines.append("it creates a contract")
    return tuple(lines) or ("nothing leaves the wallet, beside fees",)


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
