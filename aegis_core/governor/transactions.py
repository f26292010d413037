"""Transactions of agents' wallets: read from signed bytes, reserved at their bound, sent, and settled by their chain.

A transaction is charged what its chain says once that is final; until then the money stays held, whoever dies. What an
agent says of it counts for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from decimal import Decimal
from typing import Protocol

from aegis_core.chains.book import Chain, Chains
from aegis_core.chains.cost import NativeCost
from aegis_core.chains.other import OtherChain
from aegis_core.chains.sent import SentTransaction
from aegis_core.chains.transaction import decode
from aegis_core.governor.asked_transactions import asked_of
from aegis_core.governor.chain_views import previewed, statuses
from aegis_core.governor.credentials import caller_of
from aegis_core.governor.token_money import least_of, to_charge, to_hold
from aegis_core.governor.verdicts import grant_key
from aegis_core.protocol.arguments import bound_arguments
from aegis_core.protocol.chains import ChainStatus, QuoteTransaction, TransactionPreview
from aegis_core.protocol.errors import AuthError, ChainError, InvalidRequestError, NotFoundError
from aegis_core.protocol.messages import PermissionRequest, Verdict
from aegis_core.protocol.money import to_usd
from aegis_core.protocol.parsing import parse
from aegis_core.protocol.transactions import (
    SendTransaction,
    TransactionOrder,
    TransactionReport,
    TransactionRequest,
    TransactionState,
)
from aegis_core.store.chain_records import Watch
from aegis_core.store.chains import ChainStore
from aegis_core.store.ledger import Ledger
from aegis_core.store.packing import pack
from aegis_core.store.records import Record
from aegis_core.store.states import EXPIRED, OPEN
from aegis_core.store.verbs import Act, Follow, Settle

_TOOL, _NAMED, _SETTLED = "wallet.transact", "tx-", "tx "
_POLL_SECONDS = 0.5
_SOON_MS, _LATER_MS, _AFTER_CRASH_MS = 2_000, 60_000, 15_000
_ATTEMPTS = 16


class Ask(Protocol):
    """How one request is decided: `ResourceGovernor.request_permission`."""

    def __call__(
        self, request: PermissionRequest, *, token: str | None, wait: float, watch: bytes
    ) -> Awaitable[Verdict]: ...


class Transactions:
    """The transactions of one tenant."""

    def __init__(self, ledger: Ledger, ask: Ask, chains: Chains | None = None) -> None:
        self._ledger, self._ask, self.store = ledger, ask, ChainStore(ledger)
        self.chains = chains or Chains({})

    async def open(self, order: TransactionOrder, *, token: str | None = None, wait: float = 0) -> Verdict:
        """Judge a signed transaction, reserve the most that it can take, and take its wallet's lock, in one step.

        Raises:
            InvalidRequestError: it cannot be read, is of another account or chain, or the chain is not set up.
            ChainError: fees that it does not cap are not known, or nobody says what a coin costs.
        """
        await self._check(token)
        chain = self.chains.find(order.chain)
        raw, wallet, now = _raw(order.transaction), order.wallet.rpartition(":")[2], await self._ledger.now() / 1000
        asked = await asked_of(chain, raw, wallet, lambda: self._usd(chain), now)
        facts = asked.facts
        hashed, shown = bound_arguments(asked.shown)
        request = parse(
            TransactionRequest, agent_id=order.agent_id, session_id=order.session_id, task_intent=order.task_intent,
            resource_type="wallet_lock", target_resource=facts.wallet, lock_ttl_seconds=order.lock_ttl_seconds,
            priority=order.priority, estimated_cost_usd=to_usd(to_hold(facts, asked.nanos(chain.profile.decimals))),
            tool=_TOOL, arguments_hash=hashed, arguments_json=shown, request_id=_request_id(asked.request, 1),
            transaction=facts,
        )  # fmt: skip
        watch = Watch(
            facts.chain, facts.wallet, asked.nonce, asked.hash, str(asked.gas), str(asked.value), f"{asked.usd:f}",
            "held", 0, least=least_of(facts),
        )  # fmt: skip
        for attempt in range(1, _ATTEMPTS):
            verdict = await self._ask(request, token=token, wait=wait, watch=pack(watch))
            if not await self._never_sent(verdict):
                return verdict
            request = request.model_copy(update={"request_id": _request_id(asked.request, attempt + 1)})
        return await self._ask(request, token=token, wait=wait, watch=pack(watch))

    async def status(self, *, token: str | None = None) -> tuple[ChainStatus, ...]:
        """The chains that are set up, as decisions see them now."""
        await self._check(token)
        return tuple([each async for each in statuses(self.chains, self.store, await self._ledger.now() / 1000)])

    async def preview(self, message: QuoteTransaction, *, token: str | None = None) -> TransactionPreview:
        """What signed bytes can cost, and would do. Nothing is reserved. Raises as `open` does."""
        await self._check(token)
        chain, raw = self.chains.find(message.chain), _raw(message.transaction)
        return await previewed(chain, raw, await self._usd(chain), await self._ledger.now() / 1000)

    async def _check(self, token: str | None) -> None:
        """Nodes are asked for nobody who shows a session that is none."""
        if token is not None:
            await self._ledger.agent_of(caller_of(token, self._ledger.store.pepper))

    async def _never_sent(self, verdict: Verdict) -> bool:
        """Whether an earlier request about the same bytes ended, or must, with nothing sent, so that they may be asked
        about again."""
        if verdict.grant_id is None or verdict.code != "lock_lost":
            return verdict.state == "released"
        key = grant_key(verdict.grant_id)
        watch = await self.store.watch(key)
        if watch is None or watch.state != "held":
            return False
        # Who asked died before it sent, and lost the wallet.
        await self._ledger.settle(_proven(key, "release", None, None))
        return True

    async def send(self, message: SendTransaction, *, token: str | None = None) -> TransactionReport:
        """Send what a grant was given for; done once a node accepted it. The same again is a harmless repeat.

        Raises:
            NotFoundError: there is no such grant, or it is for no transaction.
            ConflictError: its money or its lock is not held any more, or its nonce was used before.
            ChainError: every node refused it (reason ``refused``), and the money is back; or whether one took it is not
                known (``unknown``), and it is watched.
        """
        await self._check(token)
        key = grant_key(message.grant_id)
        watch = await self.store.watch(key)
        if watch is None:
            raise _no_transaction()
        raw, until = _raw(message.transaction), None
        chain = self.chains.find(watch.chain)
        if isinstance(chain, OtherChain):
            if watch.raw and bytes(watch.raw) != raw:
                raise _others(chain.name_of(_sent(watch)))
            if watch.state == "held":
                until = await chain.renewed(raw, _sent(watch))
        elif watch.hash != (name := (await asyncio.to_thread(decode, raw)).hash):
            raise _others(watch.hash, f"is {name}; ")
        caller = caller_of(token, self._ledger.store.pepper)
        order = Follow(
            key, "sending", message.agent_id, caller.session, caller.token, raw,
            message.replaces or isinstance(chain, OtherChain), _AFTER_CRASH_MS, until,
        )  # fmt: skip
        record, watch = await self.store.follow(order)
        if watch.state == "sending":
            record, watch = await self._broadcast(key, watch, raw)
        return self._report(key, record, watch)

    async def _broadcast(self, key: str, watch: Watch, raw: bytes) -> tuple[Record, Watch]:
        chain = self.chains.find(watch.chain)
        try:
            await chain.network.broadcast(raw, chain.name_of(_sent(watch)))
        except ChainError as error:
            if error.facts.get("reason") == "refused":
                await self.store.follow(Follow(key, "refused"))
            raise
        return await self.store.follow(Follow(key, "sent", pause=_SOON_MS))

    async def report(
        self, grant_id: str, agent_id: str | None, *, token: str | None = None, wait: float = 0
    ) -> TransactionReport:
        """How a transaction stands, once it is settled or after `wait` seconds. An operator names no agent.

        Raises:
            NotFoundError: there is no such grant. AuthError: it is somebody else's.
        """
        key, loop = grant_key(grant_id), asyncio.get_running_loop()
        if token is not None:
            agent_id = await self._ledger.agent_of(caller_of(token, self._ledger.store.pepper))
        until = loop.time() + wait
        while True:
            watch = await self.store.watch(key)
            if watch is not None and watch.state == "sent":
                with suppress(ChainError):  # its nodes do not agree now
                    await self.follow(key)
                watch = await self.store.watch(key)
            record, _ = await self._ledger.look(key)
            if not record.request.startswith(_NAMED):
                raise _no_transaction()
            if agent_id is not None and record.agent != agent_id:
                raise AuthError("This belongs to another agent.", code="not_yours")
            if watch is None or record.state not in OPEN or loop.time() >= until:
                return self._report(key, record, watch)
            await asyncio.sleep(min(_POLL_SECONDS, max(0.0, until - loop.time())))

    async def follow(self, key: str) -> None:
        """Look what became of a transaction that was sent, or perhaps was, and settle it once that is final.

        Raises:
            ChainError: the nodes do not agree; nothing changed.
        """
        with suppress(NotFoundError):  # another process settled it meanwhile
            await self._follow(key)

    async def _follow(self, key: str) -> None:
        watch = await self.store.watch(key)
        if watch is None:
            await self.store.forget(key)
            return
        if watch.state == "held":
            await self._end_unsent(key, watch)
            return
        chain, sent = self.chains.find(watch.chain), _sent(watch)
        cost = await chain.ended(sent)
        if cost is not None:
            await self._settle(key, watch, cost)
            return
        network, name = chain.network, chain.name_of(sent)
        if await network.knows(name):
            act = "sent" if watch.state == "sending" else "later"
            await self.store.follow(Follow(key, act, pause=_SOON_MS))
        elif watch.state == "sending" and watch.raw:  # who sent it died before it could say what came of that
            await self._broadcast(key, watch, bytes(watch.raw))
        else:
            if watch.raw:  # it was accepted, and forgotten since
                with suppress(ChainError):
                    await network.broadcast(bytes(watch.raw), name)
            await self.put_off(key)

    async def _end_unsent(self, key: str, watch: Watch) -> None:
        """A grant whose transaction nobody sent costs nothing, also where its deadline passed."""
        record, _ = await self._ledger.look(key)
        if record.state in OPEN:
            await self.put_off(key)
        elif record.state == EXPIRED:
            await self._settle(key, watch, NativeCost(0, 0))
        else:
            await self.store.follow(Follow(key, "over"))

    async def put_off(self, key: str) -> None:
        """Look at a transaction again in a while, because nothing can be said of it now."""
        await self.store.follow(Follow(key, "later", pause=_LATER_MS))

    async def _settle(self, key: str, watch: Watch, cost: NativeCost) -> None:
        chain, now = self.chains.find(watch.chain), await self._ledger.now() / 1000
        nanos = await to_charge(chain, watch, cost, now)
        await self._ledger.settle(_proven(key, "settle", nanos, f"{_SETTLED}{chain.name_of(_sent(watch))}"))
        await self.store.follow(Follow(key, "over"))

    def _report(self, key: str, record: Record, watch: Watch | None) -> TransactionReport:
        states: dict[str, TransactionState] = {"held": "held", "sending": "sending", "sent": "sent"}
        state: TransactionState = "settled" if watch is None else states[watch.state]
        if watch is not None:
            name = self.chains.find(watch.chain).name_of(_sent(watch))
        elif record.settled and record.settled.startswith(_SETTLED):
            name = record.settled.removeprefix(_SETTLED)
        else:
            name = f"0x{record.request.split('-')[1]}"
        return TransactionReport("gr_" + key, state, name, to_usd(record.amount), to_usd(record.charged))

    async def _usd(self, chain: Chain) -> Decimal:
        """Dollars for a coin, as they are written beside the price of gas."""
        if chain.setup.usd is not None:
            return chain.setup.usd
        gas = await self.store.gas(chain.profile.id)
        if gas is not None and gas.usd is not False:
            return Decimal(gas.usd)
        raise ChainError(
            f"Nobody says what {chain.profile.symbol} costs on {chain.profile.name}, so nothing is sent there.",
            chain=chain.profile.id, reason="unpriced",
        )  # fmt: skip


def _sent(watch: Watch) -> SentTransaction:
    return SentTransaction(
        watch.hash, watch.wallet.rpartition(":")[2], watch.nonce, int(watch.gas), int(watch.value), watch.last_height,
        bytes(watch.raw or b""),
    )  # fmt: skip


def _others(name: str, what: str = "") -> InvalidRequestError:
    problem = f"{what}the grant was given for {name}"
    return InvalidRequestError(f"transaction: {problem}", field="transaction", problem=problem)


def _raw(text: str) -> bytes:
    try:
        if text.startswith("0x"):
            return bytes.fromhex(text[2:])
    except ValueError:
        pass
    problem = "must be the signed bytes in hexadecimal, with 0x before them"
    raise InvalidRequestError(f"transaction: {problem}", field="transaction", problem=problem)


def _request_id(name: str, attempt: int) -> str:
    """The same bytes are the same request, whoever sends them how often; and another one, once that ended unsent."""
    return f"{_NAMED}{name}-{attempt}"


def _no_transaction() -> NotFoundError:
    return NotFoundError("This grant is for no transaction, or for one that is settled.", kind="transaction")


def _proven(key: str, act: Act, cost: int | None, digest: str | None) -> Settle:
    """The end of a grant by what its chain says, not its agent."""
    return Settle(
        id=key, agent=None, sid=None, token=None, act=act, cost=cost, digest=digest, more=0, outcome=None,
        answered=None, proven=True,
    )  # fmt: skip
