"""How a call is asked for: the decision, the wait for a person while the client waits, and the words of a refusal.

A client whose call waits for a person is held without a byte as long as clients wait, then told that it waits. What was
approved meanwhile belongs to its session: the next call of the same model that costs no more takes it, once, whichever
process it reaches. No hash of a body can bind it, because clients change their bodies from try to try.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import Any, NamedTuple, TypeVar

from aegis_core.adapting.calls import ModelCall
from aegis_core.adapting.denials import denied
from aegis_core.governor.governor import ResourceGovernor
from aegis_core.governor.proxy_keys import ProxyKey
from aegis_core.metering.allowed import AllowedRates, allowance_of
from aegis_core.protocol.canonical import digest
from aegis_core.protocol.errors import AuthError, NotFoundError
from aegis_core.protocol.keywords import CallEvidence, RequestFields
from aegis_core.protocol.messages import PermissionRequest, ReleaseRequest, Requirements, Verdict
from aegis_core.protocol.money import format_usd, to_nanos
from aegis_core.protocol.parsing import parse
from aegis_core.proxy.exchange import Exchange
from aegis_core.proxy.identity import Caller, Identity
from aegis_core.proxy.replies import LONGEST_RETRY_AFTER, Client, Reply, refused, reply
from aegis_core.proxy.rerouting import served_by
from aegis_core.proxy.settling import Held, Settler
from aegis_core.proxy.sizing import Sized

HOLD_SECONDS = 50.0
"""How long a client waits for a person; proxies on the way close a connection that is silent for a minute."""
DECLINED_SECONDS = 60.0
"""For how long a session that a person refused is told so without being asked about again."""
APPROVAL_NEEDED = "approval_needed"
"""The code of the answer that a call waits for a person."""
_MOST_DECLINED = 4_096
_MORE_THAN_ANY = 2**53 - 1
_INTENT = "Model call"

_T = TypeVar("_T")


def _no_evidence() -> CallEvidence:
    return {}


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it is asked for.

    Attributes:
        key: who calls.
        session: the client's own name for its session.
        client: how it is answered.
        model: as the client names it.
        sized: its size.
        digest: by which the same call is known again.
        facts: references that observers see.
        models: those of which the recommended one answers, instead of the one that is named; none: that one does.
        tools: whether it must be able to call tools.
        task_type: what it is, where its client says so.
        trace: where it stands in a trace (W3C), where its client says so.
        went: which attempt of which request it is, as far as that is known.
    """

    key: ProxyKey
    session: bytes
    client: Client
    model: str
    sized: Sized
    digest: str
    facts: dict[str, str]
    models: tuple[str, ...] = ()
    tools: bool = False
    trace: str | None = None
    task_type: str | None = None
    went: CallEvidence = field(default_factory=_no_evidence)

    @property
    def name(self) -> str:
        """The name of the question that it shares with calls of its key, session and model."""
        return digest(self.key.key_id, self.session.hex(), self.model)

    def fields(self) -> RequestFields:
        """What the governor is told of it."""
        found = self.sized.fields()
        if self.models:
            del found["model"]
            found["requirements"] = Requirements(tools=self.tools, models=self.models, or_strongest=True)
        if not found.get("prompt_hash"):  # its parts are not looked at
            found["prompt_hash"] = self.digest
        if self.trace is not None:
            found["traceparent"] = self.trace
        if self.task_type is not None:
            found["task_type"] = self.task_type
        return found


class _Answer(NamedTuple):
    """A verdict; `joined`: of an earlier call, whose question this one shares."""

    verdict: Verdict
    joined: bool


class Asking:
    """Asks the governor for calls."""

    def __init__(self, governor: ResourceGovernor, identity: Identity, settler: Settler) -> None:
        self._governor, self._identity, self._settler = governor, identity, settler
        self._declined: OrderedDict[tuple[str, bytes, str], tuple[float, Reply]] = OrderedDict()

    async def ask(self, call: Call, exchange: Exchange) -> Held | Reply | None:
        """Ask for a call: what is held for it, or why it is not made. None: its client left meanwhile.

        Raises:
            AegisError: nothing was decided.
        """
        until, told = self._declined.get((call.key.key_id, call.session, call.model), (0.0, None))
        if told is not None and exchange.loop.time() < until:
            return told
        ends = exchange.loop.time() + HOLD_SECONDS
        while True:
            call, asked = await self._asked(call)
            verdict = asked.verdict
            if verdict.granted and not asked.joined:
                return self._settler.hold(verdict, self._sized(call, verdict), call.went)
            if verdict.status == "REJECTED":
                return self._refused(call, verdict, exchange)
            found = await self._decided(call, asked, exchange, max(0.0, ends - exchange.loop.time()))
            if found is not _ASK_ANEW:
                return found

    async def _asked(self, call: Call) -> tuple[Call, _Answer]:
        """The verdict on a call, or on the one whose question it shares; and the call, maybe of its own model only."""
        answer = await self._verdict(call)
        if answer.verdict.code == "no_model" and call.models:  # none of them serves it, so the one that was named does
            call = replace(call, models=())
            answer = await self._verdict(call)
        verdict, joined = answer
        if joined and verdict.status != "REJECTED":
            nanos = to_nanos(verdict.reserved_usd)
            if self._cap_within(self._sized(call, verdict), nanos) is None:  # of another model, say
                answer = await self._verdict(call, at_least=_MORE_THAN_ANY)
        return call, answer

    async def at_once(self, call: Call) -> Held | None:
        """What is held for a call that no person is asked about; None: it is refused, or one would be.

        Raises:
            AegisError: nothing was decided.
        """
        verdict, _ = await self._verdict(call, alone=True)
        if verdict.granted:
            return self._settler.hold(verdict, call.sized, call.went)
        if verdict.status == "PENDING":
            message = ReleaseRequest(agent_id=call.key.terms.agent_id, by="caller")
            await self._governor.release(verdict.grant_id or "", message)
        return None

    def decline(self, call: Call, made: Reply, now: float) -> None:
        """Answer further calls of this session and model like this for a minute, without asking."""
        self._declined[call.key.key_id, call.session, call.model] = (now + DECLINED_SECONDS, made)
        if len(self._declined) > _MOST_DECLINED:
            self._declined.popitem(last=False)

    def _sized(self, call: Call, verdict: Verdict) -> Sized:
        """The size of a call with the model that was chosen for it."""
        prices, chosen = self._governor.arbiter.prices, verdict.recommended_model
        if not call.models or not chosen or prices.canonical(chosen) == prices.canonical(call.sized.bound.model):
            return call.sized
        return served_by(call.sized, chosen)

    async def _verdict(self, call: Call, *, at_least: int = 0, alone: bool = False) -> _Answer:
        """The decision, in a session that is opened again where it had ended. `at_least`: so many nano-dollars a
        question must be about that it shares; `alone`: it shares none."""
        caller = await self._identity.caller(call.key, call.session)
        joins = None if alone else (call.name, at_least)
        try:
            return await self._request(call, caller, joins)
        except (AuthError, NotFoundError) as error:
            if error.code not in {"bad_token", "not_found"}:
                raise
        return await self._request(call, await self._identity.opened(call.key, call.session), joins)

    async def _request(self, call: Call, caller: Caller, joins: tuple[str, int] | None) -> _Answer:
        session, request_id = caller.session, token_hex(16)
        fields: RequestFields = {
            **call.fields(), "resource_type": "llm_tokens", "priority": min(5, session.max_priority),
            "metadata": {**call.facts}, "request_id": request_id,
        }  # fmt: skip
        message = parse(
            PermissionRequest, agent_id=session.agent_id, session_id=session.session_id, task_intent=_INTENT, **fields
        )
        verdict = await self._governor.request_permission(message, token=session.session_token, joins=joins)
        return _Answer(verdict, verdict.request_id != request_id)

    async def _decided(self, call: Call, asked: _Answer, exchange: Exchange, seconds: float) -> Held | Reply | None:
        """What a person says of a question within so many seconds, while the client is there."""
        grant = asked.verdict.grant_id or ""
        verdict = await _unless_left(self._governor.wait_for(grant, seconds, claims=False), exchange)
        if verdict is None:
            if not asked.joined:  # else others wait for it, too, or its client will come back
                message = ReleaseRequest(agent_id=call.key.terms.agent_id, by="caller")
                await self._governor.release(grant, message)
            return None
        if verdict.granted:
            if not await self._governor.tenant_store.take_question(grant, call.name):
                return _ASK_ANEW  # another call that waited for it was faster
            verdict = await self._governor.wait_for(grant, 0)  # from here on it is charged
        if verdict.granted:
            return await self._approved(call, asked.verdict, verdict)
        if verdict.status == "PENDING":
            return _still_waiting(call, verdict)
        if asked.joined and verdict.state != "declined":
            return _ASK_ANEW
        return self._refused(call, replace(verdict, status="REJECTED"), exchange)

    def _refused(self, call: Call, verdict: Verdict, exchange: Exchange) -> Reply:
        made = refusal_of(call, verdict)
        if verdict.state == "declined":
            self.decline(call, made, exchange.loop.time())
        return made

    async def _approved(self, call: Call, asked: Verdict, verdict: Verdict) -> Held | Reply:
        """Take over what was approved, for which the call may have to be cut: the operator may have lowered it."""
        sized = self._sized(call, asked)
        cap = self._cap_within(sized, to_nanos(verdict.reserved_usd))
        if cap is None:
            await self._governor.release(verdict.grant_id or "", ReleaseRequest(agent_id=verdict.agent_id))
            text = f"Aegis refused this call of {call.model}: it costs more than what was approved."
            return refused(call.client, "not_approved", text)
        own = asked.max_output_tokens
        cut = min(cap, own // sized.answers) if own and sized.cap else cap
        total = cut * sized.answers if sized.cap and cut != sized.cap else None
        return self._settler.hold(replace(verdict, max_output_tokens=total), sized, call.went)

    def _cap_within(self, sized: Sized, nanos: int) -> int | None:
        """The longest answer with which a call costs at most so much; 0 where it has none; None: there is none."""
        caps = [sized.cap or 0]
        while sized.least is not None and caps[-1] > sized.least:
            caps.append(max(sized.least, caps[-1] * 3 // 4))
        more = (sized.bound.output_tokens or 0) - caps[0] * sized.answers
        rates = AllowedRates(self._governor.arbiter.prices, sized.bound.model, allowance_of(sized.bound))
        costs = rates.bounds(sized.bound.input_tokens, [cap * sized.answers + more for cap in caps])
        return next((cap for cap, cost in zip(caps, costs, strict=True) if cost <= nanos), None)


_ASK_ANEW: Any = object()
"""The question of another call is over without an answer, or what was approved is used."""


async def _unless_left(work: Coroutine[Any, Any, _T], exchange: Exchange) -> _T | None:
    """Carry work out until the client leaves, which ends it; None then."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(exchange.left())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        return None
    finally:
        working.cancel()
        leaving.cancel()


def refusal_of(call: Call, verdict: Verdict) -> Reply:
    """The answer for a verdict that is no grant: reason, what is left, until when."""
    error = denied(ModelCall((), model=call.model, max_output_tokens=call.sized.asked), verdict)
    facts = {
        name.replace("_", "-"): str(value) for name in ("asked_usd", "left_usd") if (value := error.facts.get(name))
    }
    wait = verdict.retry_after_seconds
    if wait and wait <= LONGEST_RETRY_AFTER and error.code != "budget_exceeded":
        return reply(call.client, 429, error.code, error.message, facts=facts, retry_after=wait, again=True)
    return refused(call.client, error.code, error.message, **facts)


def _still_waiting(call: Call, verdict: Verdict) -> Reply:
    asked = format_usd(to_nanos(verdict.reserved_usd))
    text = (
        f"Aegis asks a person about this call of {call.model}, which may cost up to {asked}: {verdict.escalation_id}. "
        "Once it is approved (`aegis approvals`), send the message again: the next call of this session goes through."
    )
    return refused(call.client, APPROVAL_NEEDED, text, approval=verdict.escalation_id or "")
