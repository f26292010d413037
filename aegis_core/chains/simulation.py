"""What a transaction would do, by running it on nodes before it is sent. It can only make a judgement stricter.

Balances decide, and logs only name what to look at: a token may log what it does not do, and do what it does not log.
So every contract that is touched is asked for the wallet's balance before and after, and for what it has approved.
The block is as real as it can be (its maker, time, base fee), because a contract can tell where those are zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from aegis_core.chains.network import ChainNetwork
from aegis_core.chains.quantities import WORD
from aegis_core.chains.simulated_calls import (
    Call,
    Frames,
    Head,
    Outcome,
    call_of,
    probe_of,
    read_calls,
    read_frames,
    read_head,
    word_of,
)
from aegis_core.chains.transaction import EvmTransaction
from aegis_core.protocol.errors import ChainError

UNLIMITED = 2**96
"""An allowance from which on nobody means an amount."""
COIN_ASSET = "coin"
"""The chain's own coin among assets; all others are named by their contract."""

_COIN_EMITTERS = frozenset({"0x" + "ee" * 20, "0x" + "ff" * 19 + "fe"})
"""Who logs moves of the coin: of a simulation, and by EIP-7708."""
_MOST_PROBES = 400
_BALANCE_OF, _ALLOWANCE, _ALL, _PERMIT2_ALLOWANCE = "0x70a08231", "0xdd62ed3e", "0xe985e9c5", "0x927da105"
_APPROVING = frozenset({"095ea7b3", "39509351", "d73dd623"})
"""The methods approve, increaseAllowance and increaseApproval."""
_APPROVING_ALL = "a22cb465"
_LOG_APPROVAL = "0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925"
_LOG_APPROVAL_FOR_ALL = "0x17307eab39ab6107e8899845ad3d59bd9653f200f220920489ca2b5937696c31"
_LOG_PERMIT2 = frozenset({
    "0xda9fa7c1b00402c17d0161b249b1ab8bbec047c5a52207b9c112deffd817036b",
    "0xc6a377bfc4eb120024a8ac08eef205be16b817020812c73223e81d1bdb9708ec",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Approval:
    """What a spender may take once the transaction ran. `amount` None: everything, of a collection."""

    token: str
    spender: str
    amount: int | None

    @property
    def unlimited(self) -> bool:
        """Whether it is more than anybody means."""
        return self.amount is None or self.amount >= UNLIMITED


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a transaction would do now. Amounts are in the smallest units.

    Attributes:
        success: false where it would be reverted, for `reason`.
        gas: what it uses.
        deltas: what the wallet has more or less of each asset afterwards; fees are left out.
        unread: contracts that tell a balance only before, so that nobody knows what is left.
        approvals: that are new or changed, by it.
        standing: what a contract that it touches may take of a token by an older approval, up to the balance.
        creates: whether it creates contracts, itself or by what it calls; None where no node can trace.
        touched: the contracts that it calls.
        block, at: the block on which it ran, and that block's time (seconds).
    """

    success: bool
    reason: str | None
    gas: int
    deltas: tuple[tuple[str, int], ...]
    unread: tuple[str, ...]
    approvals: tuple[Approval, ...]
    standing: tuple[tuple[str, int], ...]
    creates: bool | None
    touched: tuple[str, ...]
    block: int
    at: int


async def simulate(network: ChainNetwork, transaction: EvmTransaction, tokens: Iterable[str] = ()) -> Simulation:
    """Run a transaction on the newest block that enough nodes have, which must all say the same.

    Args:
        network: of its chain.
        transaction: what is, or would be, signed.
        tokens: contracts whose balances are looked at whatever happens.

    Raises:
        ChainError: the nodes cannot run it, do not agree, or it touches more than can be looked at.
    """
    if transaction.type in {3, 4}:
        raise _unavailable(network, f"transactions of type {transaction.type} are not simulated")
    number = await network.height("latest")
    head = await network.agreed("eth_getBlockByNumber", hex(number), False, read=read_head)
    frames = await _traced(network, transaction, head)
    if frames is None:
        (done,) = await _run(network, head, [[call_of(transaction)]])
        frames = Frames(tuple(sorted({log.address for log in done[0].logs})), None, done[0].logs)
    me, known = transaction.sender, tuple(sorted({each.lower() for each in tokens}))
    looked = tuple(sorted({*known, *frames.touched, *filter(None, [transaction.to])} - _COIN_EMITTERS))
    spent = _named_approvals(transaction, frames)
    balances = [probe_of(each, _BALANCE_OF, me) for each in looked]
    allowed = [each.probe(me) for each in spent]
    pairs = [(token, spender) for token in known for spender in looked if spender != token]
    olds = [probe_of(token, _ALLOWANCE, me, spender) for token, spender in pairs]
    if len(balances) + len(allowed) + len(olds) > _MOST_PROBES:
        raise _unavailable(network, f"it touches {len(looked)} contracts, more than are looked at")
    probes = [probe_of(None, "", me), *balances, *allowed]
    (before,) = await _run(network, head, [[*probes, *olds]], probed=me)
    (ran,), after = await _run(network, head, [[call_of(transaction)], probes], probed=me)
    values = [(word_of(one), word_of(two)) for one, two in zip(before[: len(probes)], after, strict=True)]
    (coin_before, coin_after), rest = values[0], values[1:]
    if coin_before is None or coin_after is None:
        raise _unavailable(network, "no node says what is left of the coin")
    coin = coin_after - coin_before + ran.gas * _price(transaction, head)
    held = dict(zip(looked, rest[: len(looked)], strict=True))
    deltas = {COIN_ASSET: coin} | {
        each: two - one for each, (one, two) in held.items() if one is not None and two is not None
    }
    standing = zip(pairs, (word_of(each) or 0 for each in before[len(probes) :]), strict=True)
    return Simulation(
        ran.success, ran.reason, ran.gas, tuple((asset, delta) for asset, delta in deltas.items() if delta),
        tuple(each for each, (one, two) in held.items() if one and two is None),
        tuple(_changed(spent, rest[len(looked) :])), _exposed(standing, held), frames.creates, frames.touched,
        head.number, head.time,
    )  # fmt: skip


async def _traced(network: ChainNetwork, transaction: EvmTransaction, head: Head) -> Frames | None:
    """All that it calls and creates; None where no node can trace."""
    options = {
        "tracer": "callTracer", "tracerConfig": {"withLog": True},
        "blockOverrides": {"feeRecipient": head.maker, "time": hex(head.time + 1), "number": hex(head.number + 1)},
    }  # fmt: skip
    try:
        return await network.agreed(
            "debug_traceCall", call_of(transaction), hex(head.number), options, read=read_frames
        )
    except ChainError:
        return None


async def _run(
    network: ChainNetwork, head: Head, blocks: list[list[Call]], probed: str | None = None
) -> tuple[tuple[Outcome, ...], ...]:
    """Run calls in blocks that follow the head, in order."""
    said = [
        {
            "blockOverrides": {
                "number": hex(head.number + at), "time": hex(head.time + at), "baseFeePerGas": hex(head.base_fee),
                "feeRecipient": head.maker,
            },
            "calls": calls,
        }
        for at, calls in enumerate(blocks, start=1)
    ]  # fmt: skip
    if probed is not None:
        said[0]["stateOverrides"] = head.probing(probed)
    asked = {"blockStateCalls": said, "traceTransfers": True, "validation": True}
    sizes = tuple(map(len, blocks))
    return await network.agreed(
        "eth_simulateV1", asked, hex(head.number), read=lambda answer: read_calls(answer, sizes)
    )


def _price(transaction: EvmTransaction, head: Head) -> int:
    """What a unit of its gas costs in a block like this."""
    return head.base_fee + min(transaction.priority_fee, max(0, transaction.max_fee - head.base_fee))


class _Spender(NamedTuple):
    """Whom the wallet may have approved: for a token, for all of a collection, or by way of Permit2 (`permit2`)."""

    token: str
    spender: str
    whole: bool = False
    permit2: str = ""

    def probe(self, wallet: str) -> Call:
        """The question for how much that is."""
        if self.permit2:
            return probe_of(self.permit2, _PERMIT2_ALLOWANCE, wallet, self.token, self.spender)
        return probe_of(self.token, _ALL if self.whole else _ALLOWANCE, wallet, self.spender)


def _named_approvals(transaction: EvmTransaction, frames: Frames) -> tuple[_Spender, ...]:
    """Whom the wallet may have approved, by logs and by what is called."""
    me, found = transaction.sender, set[_Spender]()
    for log in frames.logs:
        accounts = [_account(each) for each in log.topics[1:]]
        if not accounts or accounts[0] != me:
            continue
        if log.topics[0] in {_LOG_APPROVAL, _LOG_APPROVAL_FOR_ALL} and len(accounts) == 2:
            found.add(_Spender(log.address, accounts[1], log.topics[0] == _LOG_APPROVAL_FOR_ALL))
        if log.topics[0] in _LOG_PERMIT2 and len(accounts) == 3:
            found.add(_Spender(accounts[1], accounts[2], permit2=log.address))
    method, data = transaction.data[:4].hex(), transaction.data
    if transaction.to and len(data) >= 36 and method in {*_APPROVING, _APPROVING_ALL}:
        found.add(_Spender(transaction.to, "0x" + data[16:36].hex(), method == _APPROVING_ALL))
    return tuple(sorted(found))


def _changed(spent: tuple[_Spender, ...], allowed: list[tuple[int | None, int | None]]) -> Iterable[Approval]:
    for each, (before, after) in zip(spent, allowed, strict=True):
        if each.whole:
            if after != 0:  # also where the contract does not say
                yield Approval(each.token, each.spender, None)
        elif after is None:
            yield Approval(each.token, each.spender, WORD)
        elif after > (before or 0):
            yield Approval(each.token, each.spender, after)


def _exposed(
    standing: Iterable[tuple[tuple[str, str], int]], held: dict[str, tuple[int | None, int | None]]
) -> tuple[tuple[str, int], ...]:
    most: dict[str, int] = {}
    for (token, _), amount in standing:
        balance = held[token][0] or 0
        most[token] = max(most.get(token, 0), min(balance, amount))
    return tuple((token, amount) for token, amount in sorted(most.items()) if amount)


def _account(topic: str) -> str:
    return "0x" + topic[-40:]


def _unavailable(network: ChainNetwork, problem: str) -> ChainError:
    return ChainError(f"{network.profile.name}: {problem}.", chain=network.profile.id, reason="unknown")
