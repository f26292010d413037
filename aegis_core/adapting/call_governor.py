"""One governed call, the same in all frameworks: ask before it, and end what was held after it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Unpack
from uuid import uuid4

from aegis_core.adapting.bridge import Bridge, both_ways
from aegis_core.adapting.calls import ModelCall, ToolCall
from aegis_core.adapting.caps import thinking_budget
from aegis_core.adapting.costs import Costs, checked_costs, checked_number
from aegis_core.adapting.denials import CHANGED, denied
from aegis_core.adapting.estimate import Estimate, InputBounds
from aegis_core.adapting.locking import Locks, ToolLease, ToolLocks
from aegis_core.adapting.request_fields import model_fields, tool_fields, tool_identifier
from aegis_core.adapting.reservation import Reservation
from aegis_core.adapting.tool_names import ToolNames
from aegis_core.adapting.wishes import CallWishes, Wishes
from aegis_core.client.leases import seconds
from aegis_core.protocol.canonical import digest, storable
from aegis_core.protocol.denial import AegisDenied
from aegis_core.protocol.errors import ConfigurationError, LockPreemptedError, LockTimeoutError
from aegis_core.protocol.journal import JournalAct, JournalEntry, cut_result
from aegis_core.protocol.keywords import RequestFields
from aegis_core.protocol.messages import Framework, Verdict
from aegis_core.protocol.money import UsdLike

MODEL_CALL = "Model call"
"""The intent of a model call whose program declares none."""

Call = ModelCall | ToolCall

_LOCK_REASONS = {
    "lock_timeout": "The lock {name} was not free within {wait:g} s",
    "lock_preempted": "Waiting for the lock {name} would close a cycle of waits",
}


class CallGovernor:
    """What an adapter holds instead of an agent. Safe from many threads and loops; copied by reference, can be pickled.

    Args:
        aegis: the value of the adapter's own parameter, from `Governor.handshake` or `SyncGovernor.handshake`.
        framework: whose adapter it is; observers see it.
        costs: what a call of each tool costs in dollars: ``{"search": "0.01"}``, or a function of name and arguments.
            Tools that it does not know cost nothing and are still asked for, so that rules, approvals and locks apply.
        locks: which tool holds which lock while it runs: ``{"pay": "wallet_main"}``; see `ToolLocks`.
        max_output_tokens: the agent's cap on an answer, for adapters that can send one.
        intent: what the agent's model calls are for. Rules read this, and nothing of the prompts.
        approval_seconds: how long `begin` waits for a human; 0: a call that needs one is refused.
        **wishes: ``priority``, ``logic_density`` and ``task_type``; see `CallWishes`.

    Raises:
        ConfigurationError: `aegis` is not an agent of Aegis, or another setting says nothing that is understood.
    """

    def __init__(
        self,
        aegis: object,
        *,
        framework: Framework,
        costs: Costs | None = None,
        locks: Locks | None = None,
        max_output_tokens: int = 4_096,
        approval_seconds: float = 600,
        intent: str | None = None,
        **wishes: Unpack[CallWishes],
    ) -> None:
        self.bridge, self.bounds = Bridge.of(aegis, framework), InputBounds()
        self.framework: Framework = framework
        self._costs: Costs = checked_costs(costs)
        self._locks = ToolLocks(locks)
        self.names = ToolNames(costs=self._costs, locks=self._locks.by_tool)
        checked_number("max_output_tokens", max_output_tokens, 1)
        checked_number("approval_seconds", approval_seconds, 0, whole=False)
        self._intent = storable(intent or MODEL_CALL)
        self._cap, self._patience, self._wishes = max_output_tokens, approval_seconds, Wishes(wishes)

    @property
    def tenant(self) -> str:
        """The tenant for which the agent asks."""
        return self.bridge.agent.session.tenant

    def begin(self, call: Call, *, wait: float | None = None) -> Reservation:
        """Hold what a call may cost, from plain code. Wait for a human where one is needed, and then for its lock.

        Args:
            call: what is about to be done.
            wait: seconds to wait for a human; default: `approval_seconds`.

        Raises:
            AegisDenied: refused; the call must not be made. Its ``final`` says that the run must end.
            ConfigurationError: the agent cannot be asked from this thread (see `Bridge`).
            AegisError: nothing was decided (a bad value, an unknown price, the governor is down): do not make the call.
        """
        return self.bridge.run(lambda: self._begin(call, wait))

    async def abegin(self, call: Call, *, wait: float | None = None) -> Reservation:
        """As `begin`, from a coroutine of any loop. A caller that is cancelled meanwhile leaves nothing held."""
        work = asyncio.ensure_future(self.bridge.await_(lambda: self._hold(call, wait)))
        try:
            held = await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(_drop)
            raise
        await self.alock(held)
        return held

    async def _ask(self, call: Call) -> Verdict:
        """The verdict alone, without waiting and without an error for a refusal: for approvals that pause durably.

        A tool call with an id is judged once: asked again, by whichever process, it gets the same question's answer.
        """
        return (await self._estimated(call, 0))[0]

    ask, aask = both_ways(_ask)

    async def _refuse(self, call: Call, verdict: Verdict) -> AegisDenied:
        """The error for a verdict that is no grant; counts it, so that the third of the same call is final."""
        return denied(call, verdict, await self.count_refusal(call))

    refuse, arefuse = both_ways(_refuse)

    def held(self, call: Call, verdict: Verdict) -> Reservation:
        """The reservation of a granted verdict of `ask`."""
        return self._reservation(call, verdict, None)

    async def alock(self, held: Reservation) -> None:
        """Take the lock that a tool call of `held` needs. `begin` and `abegin` do so themselves.

        Raises:
            AegisDenied: it was not free in time. After this or another error nothing is held.
        """
        if self.needs_lock(held.call):
            try:
                await self.bridge.await_(lambda: self._locked(held))
            except BaseException:
                held.abandon(consumed=False)
                raise

    async def _start(self, call: ToolCall, runner: str) -> JournalEntry:
        """Write into the execution journal that a side effect begins. Run it only when the state is ``started``.

        ``finished`` and ``failed``: replay the result. ``unknown``: it was started before, perhaps done; ask a human.

        Args:
            call: must have a `call_id`.
            runner: names this attempt (`new_runner`); the same one ends it.
        """
        return await self.journal("start", call, runner)

    start, astart = both_ways(_start)

    async def _finish(self, call: ToolCall, runner: str, result: str, *, failed: bool = False) -> JournalEntry:
        """Store the result of a side effect, or with `failed` its error. Text over 65,536 characters is cut."""
        return await self.journal("fail" if failed else "finish", call, runner, result)

    finish, afinish = both_ways(_finish)

    @staticmethod
    def new_runner() -> str:
        """A name for one attempt to run a side effect."""
        return uuid4().hex

    def cap_of(self, call: ModelCall) -> int | None:
        """The cap of one answer that is reserved, before it is cut to the affordable. None: the model's maximum."""
        if not call.lowers_cap:
            return call.max_output_tokens
        most = self._cap + thinking_budget(call.settings)
        return min(call.max_output_tokens or most, most)

    def wished(self, call: Call) -> RequestFields:
        """What is said of a call beside its sizes: its priority, its type of task, …"""
        fields: RequestFields = {}
        self._wishes.put_in(fields, call)
        return fields

    def __copy__(self) -> CallGovernor:
        return self

    def __deepcopy__(self, memo: object) -> CallGovernor:
        return self

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "bounds"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, bounds=InputBounds())

    async def verdict_of(self, call: Call, wait: float = 0) -> Verdict:
        """As `ask`, in the loop of the bridge, waiting up to `wait` seconds for a human."""
        return (await self._estimated(call, wait))[0]

    def is_approved(self, call: Call, verdict: Verdict) -> bool:
        """Whether a granted verdict is about this very call: a person may have approved another one after a change."""
        if isinstance(call, ModelCall):
            return True
        tool, arguments = verdict.tool or tool_identifier(call.tool), verdict.arguments_hash or call.arguments_hash
        return (tool, arguments) == (tool_identifier(call.tool), call.arguments_hash)

    def needs_lock(self, call: Call) -> bool:
        """Whether a call may run only while it holds a lock."""
        return isinstance(call, ToolCall) and self._locks.of(call) is not None

    async def lock(self, held: Reservation) -> Verdict | None:
        """Take the lock that a granted tool call needs, in the loop of the bridge, never while a human is asked.

        Answers None, or the refusal where it was not free in time; then, and when this raises, nothing is held.
        """
        need = self._locks.of(held.call) if isinstance(held.call, ToolCall) else None
        if need is None:
            return None
        verdict = held.verdict
        lives = None
        if verdict.expires_at is not None and verdict.granted_at is not None:
            lives = (verdict.expires_at - verdict.granted_at).total_seconds()
        try:
            held.lease = await ToolLease.taken(self.bridge.agent, need, lives)
        except (LockTimeoutError, LockPreemptedError) as error:
            await held.arelease()
            reason = _LOCK_REASONS[error.code].format(name=need.name, wait=seconds(need.wait, "wait"))
            return replace(verdict, status="REJECTED", code=error.code, reason=reason)
        except BaseException:
            held.abandon(consumed=False)
            raise
        if not held.open:  # the caller gave up meanwhile
            await held.unlock()
        return None

    async def _begin(self, call: Call, wait: float | None) -> Reservation:
        held = await self._hold(call, wait)
        await self._locked(held)
        return held

    async def _locked(self, held: Reservation) -> None:
        refused = await self.lock(held)
        if refused is not None:
            raise await self._refuse(held.call, refused)

    async def _hold(self, call: Call, wait: float | None) -> Reservation:
        self.needs_lock(call)  # what cannot be a lock is said before anything is held
        verdict, estimate = await self._estimated(call, self._patience if wait is None else wait)
        if verdict.granted and self.is_approved(call, verdict):
            return self._reservation(call, verdict, estimate)
        if verdict.granted:
            await self.bridge.agent.release(verdict.grant_id or "")
            verdict = replace(verdict, status="REJECTED", code="not_approved", reason=CHANGED)
        if verdict.status == "PENDING" and verdict.grant_id:
            await self.bridge.agent.release(verdict.grant_id)
        raise await self._refuse(call, verdict)

    def _reservation(self, call: Call, verdict: Verdict, estimate: Estimate | None) -> Reservation:
        if estimate is None or not isinstance(call, ModelCall):
            return Reservation(self.bridge, call, verdict)
        learn = partial(self.bounds.learn, estimate)
        return Reservation(self.bridge, call, verdict, cap=self.cap_of(call), bound=estimate.bound, learn=learn)

    async def _estimated(self, call: Call, wait: float) -> tuple[Verdict, Estimate | None]:
        estimate = None
        if isinstance(call, ModelCall):
            estimate = self._estimate_of(call)
            fields = model_fields(call, estimate, self.cap_of(call), self.framework)
        else:
            fields = tool_fields(call, self._cost_of(call), self.tenant, self.framework)
        self._wishes.put_in(fields, call)
        return await self.bridge.agent.request(call.intent or self._intent, wait=wait, **fields), estimate

    def _estimate_of(self, call: ModelCall) -> Estimate:
        return self.bounds.estimate(
            call.messages, call.tools, call.model, call.models, call.settings,
            cap=self.cap_of(call), answers=call.answers,
        )  # fmt: skip

    def _cost_of(self, call: ToolCall) -> UsdLike:
        if call.cost_usd is not None:
            return call.cost_usd
        found = self._costs(call.tool, call.arguments) if callable(self._costs) else self._costs.get(call.tool)
        return 0 if found is None else found

    async def count_refusal(self, call: Call) -> int:
        """How often this very call was refused in the session, with this time. Redis counts, for all processes."""
        if isinstance(call, ToolCall):
            key = digest("tool", call.tool, call.arguments_hash)
        else:
            key = digest("model", self._estimate_of(call).digest)
        return (await self.bridge.agent.journal("refuse", "refused_" + key)).times

    async def journal(
        self, act: JournalAct, call: ToolCall, runner: str | None = None, result: str | None = None
    ) -> JournalEntry:
        """One line of the execution journal, in the loop of the bridge."""
        identity = call.identity(self.tenant)
        if identity is None:
            raise ConfigurationError("The execution journal needs a call_id; without one a call cannot be recognised.")
        return await self.bridge.agent.journal(
            act, identity, runner=runner, result=None if result is None else cut_result(storable(result))
        )


def _drop(work: asyncio.Future[Reservation]) -> None:
    if not work.cancelled() and work.exception() is None:
        work.result().abandon(consumed=False)
